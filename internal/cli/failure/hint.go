package failure

import (
	"errors"

	"github.com/picloud/picloud"
)

// NoApp says how to get an app to somebody whose app was not found: on a new
// node there is none.
func NoApp(err error, app string) error {
	hint := "picloud app ls lists your apps; picloud app add " + app + " makes this one"
	if app == picloud.DefaultApp {
		hint += ", as the first picloud deploy does"
	}
	return NotFound(err, hint)
}

// NoFunction says how to get a function to somebody whose function was not found.
func NoFunction(err error, app, function string) error {
	return NotFound(err, "deploy it first: "+InApp("picloud deploy "+function+".risor", app)+"; those that are there are listed by: "+InApp("picloud ls", app))
}

// NoNode says where to look to somebody whose node was not found; the control
// API's own hint names a request.
func NoNode(err error) error {
	var f *Failure
	if errors.As(err, &f) && f.Err.Code == picloud.CodeNotFound {
		f.Err.Hint = "picloud node ls lists those that are there"
	}
	return err
}

// NotFound adds a hint to an error that says "not found", unless it has a hint.
func NotFound(err error, hint string) error {
	var f *Failure
	if errors.As(err, &f) && f.Err.Code == picloud.CodeNotFound && f.Err.Hint == "" {
		f.Err.Hint = hint
	}
	return err
}

// InApp completes a command that is about an app.
func InApp(command, app string) string {
	if app == picloud.DefaultApp {
		return command
	}
	return command + " --app " + app
}
