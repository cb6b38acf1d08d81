package failure

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/output"
)

// Failure is an error with what only the CLI knows about it.
type Failure struct {
	Err       *picloud.Error
	Resource  string // that the control API was asked about
	File      string // the script's file, for errors that point into it
	TokenFrom string // what the token was read from
	User      string // whose token it is, as the node says; empty: it does not know the token
	Claimed   string // whose token it is, as the file with the token says; empty: no file says it
	// Refused says that the node might have answered another user. The two fields above
	// are then printed.
	Refused   bool
	RequestID string // of the answer with the error; empty: there was no answer
}

// Error implements error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the error itself, so that errors.Is sees its code.
func (f *Failure) Unwrap() error { return f.Err }

// Explain adds to err what was tried and on what, unless the server's problem says it.
func Explain(err error, op, resource string) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	var e *picloud.Error
	if !errors.As(err, &e) {
		return &Failure{Err: &picloud.Error{Code: picloud.CodeInternal, Op: op, Resource: resource, Err: err}}
	}
	full := *e
	says := strings.HasPrefix(full.Detail, op+":") || strings.HasPrefix(full.Detail, op+" ") || resource != "" && strings.Contains(full.Detail, resource)
	if full.Op == "" && !says { // else the detail says it all
		full.Op, full.Resource = op, resource
	}
	return &Failure{Err: &full}
}

// Print writes err for a person:
//
//	picloud: deploy default/hello: Script does not compile
//	  hello.risor:3:15: unexpected token "}"
//	    let who = }
//	              ^
//	  hint: …
//	  PC1101, request 3f2a…
func Print(w io.Writer, cmd *cobra.Command, err error) {
	var usage *Usage
	var fail *Failure
	var plain *picloud.Error
	switch {
	case err.Error() == "": // Reported
	case errors.As(err, &usage):
		fmt.Fprintf(w, "picloud: %s\n", output.Clean(usage.Message))
		fmt.Fprintf(w, "  usage: %s\n  more:  %s --help\n", usage.Cmd.UseLine(), usage.Cmd.CommandPath())
	case errors.As(err, &fail):
		fail.print(w)
	case errors.As(err, &plain):
		(&Failure{Err: plain}).print(w)
	case cmd != nil && cmd.HasParent():
		fmt.Fprintf(w, "%s: %s\n", cmd.CommandPath(), output.Clean(err.Error()))
	default:
		fmt.Fprintf(w, "picloud: %s\n", output.Clean(err.Error()))
	}
}

// text is the error in one line: what was tried, on what, and why it failed.
func (f *Failure) text() string {
	text := f.Err.Error()
	title := strings.ToLower(f.Err.Code.Entry().Title)
	app, _, _ := strings.Cut(f.Resource, "/")
	switch {
	case f.Err.Err != nil:
	case f.Err.Detail == "", // no reason but the kind of the error
		f.Resource != "" && strings.HasSuffix(text, f.Resource) && !strings.Contains(f.Err.Detail, ": "), app != "" && strings.HasSuffix(text, " app "+app),
		f.Err.Code == picloud.CodeDatabaseDown && !strings.HasSuffix(text, title): // the node keeps the reason to itself
		text += ": " + title
	}
	return text
}

func (f *Failure) print(w io.Writer) {
	text := f.text()
	fmt.Fprintf(w, "picloud: %s\n", output.Clean(text))
	if s := f.Err.Script; s != nil && (s.Line > 0 || !strings.HasSuffix(text, s.Message)) { // else it is said
		printScript(w, f.File, s)
	}
	for _, field := range f.Err.Fields {
		if line := field.Field + " " + field.Message; !strings.HasSuffix(text, line) {
			fmt.Fprintf(w, "  %s\n", output.Clean(line))
		}
	}
	if line := f.who(); line != "" {
		fmt.Fprintf(w, "  %s\n", output.Clean(line))
	}
	if f.Err.RetryAfter > 0 {
		fmt.Fprintf(w, "  try again in %s\n", f.Err.RetryAfter.Round(time.Second))
	}
	if f.Err.Hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", output.Clean(f.Err.Hint))
	}
	if f.RequestID != "" {
		fmt.Fprintf(w, "  %s, request %s\n", f.Err.Code, output.Clean(f.RequestID))
	}
}

// who says whose token the command used, if the failure depends on that.
func (f *Failure) who() string {
	switch {
	case !f.Refused:
		return ""
	case f.User == "" && f.TokenFrom == "":
		return ""
	case f.User == "" && f.Claimed != "":
		return "the token of " + f.Claimed + " is from " + f.TokenFrom
	case f.User == "":
		return "the token is from " + f.TokenFrom
	case f.TokenFrom == "":
		return "you are " + f.User
	default:
		return "you are " + f.User + "; the token is from " + f.TokenFrom
	}
}

// InFile says which file a script error points into.
func InFile(err error, file string) error {
	if f, ok := errors.AsType[*Failure](err); ok {
		f.File = StreamName(file)
	}
	return err
}

// StreamName names a file in messages; "-" is standard input.
func StreamName(path string) string {
	if path == "-" {
		return "standard input"
	}
	return path
}
