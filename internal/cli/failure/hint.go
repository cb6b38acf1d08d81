package failure

import (
	"errors"
	"os"

	"github.com/picloud/picloud"
)

// NoApp says how to get an app to somebody whose app was not found: on a new
// node there is none.
func NoApp(err error, app string) error {
	hint := "picloud app ls lists your apps; picloud app add " + app + " makes this one"
	if app == picloud.DefaultApp {
		hint += ", as the first picloud deploy does"
	}
	if f, ok := errors.AsType[*Failure](err); ok && f.Err.Code == picloud.CodeNotFound && f.Err.Hint == "" {
		f.Refused = true // an app that one is not a member of is not found either
	}
	return NotFound(err, hint)
}

// NoFunction says how to get a function to somebody whose function was not found.
func NoFunction(err error, app, function string) error {
	return NotFound(err, "deploy it first: "+InApp("picloud deploy "+function+".risor", app)+"; those that are there are listed by: "+InApp("picloud ls", app))
}

// NoVersion says which versions there are to somebody whose version was not found,
// which the control API says for those that are to be made live.
func NoVersion(err error, app, function string) error {
	return NotFound(err, InApp("picloud versions "+function, app)+" lists those that are there")
}

// NoNode says where to look to somebody whose node was not found; the control
// API's own hint names a request.
func NoNode(err error) error {
	if f, ok := errors.AsType[*Failure](err); ok && f.Err.Code == picloud.CodeNotFound {
		f.Err.Hint = "picloud node ls lists those that are there"
	}
	return err
}

// NotFound adds a hint to an error that says "not found", unless it has a hint.
func NotFound(err error, hint string) error {
	if f, ok := errors.AsType[*Failure](err); ok && f.Err.Code == picloud.CodeNotFound && f.Err.Hint == "" {
		f.Err.Hint = hint
	}
	return err
}

// Exists adds a hint to an error that says "it exists already", unless it has one.
func Exists(err error, hint string) error {
	if f, ok := errors.AsType[*Failure](err); ok && f.Err.Code == picloud.CodeExists && f.Err.Hint == "" {
		f.Err.Hint = hint
	}
	return err
}

// StartNode is the command that starts a node: the one of README.md in a clone of
// the source, else the one of an installed picloud.
func StartNode() string {
	for _, path := range []string{"Makefile", "cmd/picloud/main.go"} {
		if _, err := os.Stat(path); err != nil {
			return "picloud run"
		}
	}
	return "make run"
}

// InApp completes a command that is about an app.
func InApp(command, app string) string {
	if app == picloud.DefaultApp {
		return command
	}
	return command + " --app " + app
}
