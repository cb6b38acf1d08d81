package failure

import (
	"errors"
	"os"

	"github.com/picloud/picloud"
)

// NoApp adds a hint to the error of an app that was not found: how to make it. A new node
// has no app.
func NoApp(err error, app string) error {
	hint := "picloud app ls lists your apps; picloud app add " + app + " makes this one"
	if app == picloud.DefaultApp {
		hint += ", as the first picloud deploy does"
	}
	if f, ok := errors.AsType[*Failure](err); ok && f.Err.Code == picloud.CodeNotFound && f.Err.Hint == "" {
		f.Refused = true // to a user who is not a member, an app does not exist
	}
	return NotFound(err, hint)
}

// NoFunction adds a hint to the error of a function that was not found.
func NoFunction(err error, app, function string) error {
	return NotFound(err, "deploy it first: "+InApp("picloud deploy "+function+".risor", app)+"; those that are there are listed by: "+InApp("picloud ls", app))
}

// NoVersion adds a hint to the error of a version that was not found. For a version that
// is to become live, the control API gives its own hint.
func NoVersion(err error, app, function string) error {
	return NotFound(err, InApp("picloud versions "+function, app)+" lists those that are there")
}

// NoNode replaces the hint of a node that was not found. The control API's own hint names
// a request, and not a command.
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

// StartNode returns the command that starts a node. In a clone of the source that is
// `make run`, as README.md says.
func StartNode() string {
	for _, path := range []string{"Makefile", "cmd/picloud/main.go"} {
		if _, err := os.Stat(path); err != nil {
			return "picloud run"
		}
	}
	return "make run"
}

// InApp adds --app to a command when the app is not the default one.
func InApp(command, app string) string {
	if app == picloud.DefaultApp {
		return command
	}
	return command + " --app " + app
}
