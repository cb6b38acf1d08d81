package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
)

// failure is an error with what only the CLI knows about it.
type failure struct {
	err       *picloud.Error
	resource  string // that the control API was asked about
	file      string // the script's file, for errors that point into it
	tokenFrom string // what the token that was refused was read from
	requestID string // of the answer that brought the error; empty: it never left this machine
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns the error itself, so that errors.Is sees its code.
func (f *failure) Unwrap() error { return f.err }

// explain completes err with what was tried and on what, where the server's
// problem leaves that to the caller.
func explain(err error, op, resource string) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var e *picloud.Error
	if !errors.As(err, &e) {
		return &failure{err: &picloud.Error{Code: picloud.CodeInternal, Op: op, Resource: resource, Err: err}}
	}
	full := *e
	says := strings.HasPrefix(full.Detail, op+":") || resource != "" && strings.Contains(full.Detail, resource)
	if full.Op == "" && !says { // else the detail says it all
		full.Op, full.Resource = op, resource
	}
	return &failure{err: &full}
}

// printError writes err for a person:
//
//	picloud: deploy default/hello: Script does not compile
//	  hello.risor:3:15: unexpected token "}"
//	    let who = }
//	              ^
//	  hint: …
//	  PC1101, request 3f2a…
func printError(w io.Writer, cmd *cobra.Command, err error) {
	var usage *usageError
	var fail *failure
	var plain *picloud.Error
	switch {
	case errors.Is(err, errReported), err.Error() == "":
	case errors.As(err, &usage):
		fmt.Fprintf(w, "picloud: %s\n", clean(usage.message))
		fmt.Fprintf(w, "  usage: %s\n  more:  %s --help\n", usage.cmd.UseLine(), usage.cmd.CommandPath())
	case errors.As(err, &fail):
		fail.print(w)
	case errors.As(err, &plain):
		(&failure{err: plain}).print(w)
	case cmd != nil && cmd.HasParent():
		fmt.Fprintf(w, "%s: %s\n", cmd.CommandPath(), clean(err.Error()))
	default:
		fmt.Fprintf(w, "picloud: %s\n", clean(err.Error()))
	}
}

// text is the error in one line: what was tried, on what, and why it failed.
func (f *failure) text() string {
	text := f.err.Error()
	title := strings.ToLower(f.err.Code.Entry().Title)
	app, _, _ := strings.Cut(f.resource, "/")
	switch {
	case f.err.Err != nil:
	case f.err.Detail == "", // no reason but the kind of the error
		f.resource != "" && strings.HasSuffix(text, f.resource), app != "" && strings.HasSuffix(text, " app "+app),
		f.err.Code == picloud.CodeDatabaseDown && !strings.HasSuffix(text, title): // the node keeps the reason to itself
		text += ": " + title
	}
	return text
}

func (f *failure) print(w io.Writer) {
	text := f.text()
	fmt.Fprintf(w, "picloud: %s\n", clean(text))
	if s := f.err.Script; s != nil && (s.Line > 0 || !strings.HasSuffix(text, s.Message)) { // else it is said
		printScript(w, f.file, s)
	}
	for _, field := range f.err.Fields {
		if line := field.Field + " " + field.Message; !strings.HasSuffix(text, line) {
			fmt.Fprintf(w, "  %s\n", clean(line))
		}
	}
	if f.tokenFrom != "" {
		fmt.Fprintf(w, "  the token is from %s\n", clean(f.tokenFrom))
	}
	if f.err.RetryAfter > 0 {
		fmt.Fprintf(w, "  try again in %s\n", f.err.RetryAfter.Round(time.Second))
	}
	if f.err.Hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", clean(f.err.Hint))
	}
	if f.requestID != "" {
		fmt.Fprintf(w, "  %s, request %s\n", f.err.Code, clean(f.requestID))
	}
}

// printScript points at the place in the script.
func printScript(w io.Writer, file string, s *picloud.ScriptError) {
	if file == "" {
		file = "script"
	}
	switch {
	case s.Line > 0 && s.Column > 0:
		fmt.Fprintf(w, "  %s:%d:%d: %s\n", file, s.Line, s.Column, clean(s.Message))
	case s.Line > 0:
		fmt.Fprintf(w, "  %s:%d: %s\n", file, s.Line, clean(s.Message))
	default:
		fmt.Fprintf(w, "  %s: %s\n", file, clean(s.Message))
	}
	excerpt := strings.TrimRight(s.Excerpt, "\r\n")
	if excerpt == "" {
		return
	}
	fmt.Fprintf(w, "    %s\n", clean(excerpt))
	if s.Column > 0 && s.Column <= utf8.RuneCountInString(excerpt)+1 {
		fmt.Fprintf(w, "    %s^\n", indent(excerpt, s.Column-1))
	}
}

// indent returns as much white space as the first n characters of line take,
// tabs kept, so that a caret below them stands right.
func indent(line string, n int) string {
	var b strings.Builder
	for _, r := range line {
		if n == 0 {
			break
		}
		n--
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// clean replaces the control characters of text that came from elsewhere: what
// a script logs or answers must not steer the terminal.
func clean(text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if strings.IndexFunc(text, steers) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !steers(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// steers reports whether r is a control character, other than tab and newline,
// or turns the direction of the text around it.
func steers(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 ||
		r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
