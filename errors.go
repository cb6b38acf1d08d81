package picloud

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Sentinel errors: what kind of thing went wrong. Test with errors.Is; every
// *Error matches the sentinel of its code.
var (
	ErrInvalid         = errors.New("invalid input")
	ErrUnauthenticated = errors.New("not signed in")
	ErrForbidden       = errors.New("not allowed")
	ErrNotFound        = errors.New("not found")
	ErrConflict        = errors.New("conflict")
	ErrPrecondition    = errors.New("precondition failed")
	ErrTooLarge        = errors.New("too large")
	ErrScript          = errors.New("script does not compile")
	ErrLimit           = errors.New("limit reached")
	ErrUnavailable     = errors.New("unavailable")
	ErrTimeout         = errors.New("timed out")
	ErrFunction        = errors.New("function failed")
	ErrInternal        = errors.New("internal error")
)

// Error is the one error type that reaches people. Its text says what was
// attempted, on what, and what went wrong; Hint says what to do next.
type Error struct {
	Code       Code          // entry of the catalogue; decides kind, title and HTTP status
	Op         string        // what was attempted: "deploy function"
	Resource   string        // on what: "default/hello"; may be empty
	Detail     string        // what went wrong, for people; may be empty when Err says it
	Hint       string        // what to do next; may be empty
	Fields     []FieldError  // invalid fields of the input, if any
	Script     *ScriptError  // where the script is wrong, if it is
	RetryAfter time.Duration // when trying again makes sense; 0: no advice
	Err        error         // the cause; never shown to callers of the API when the code is CodeInternal
}

// FieldError names one invalid field of the input.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// ScriptError locates an error in a script. Line and Column count from 1; 0
// means unknown.
type ScriptError struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Excerpt string `json:"excerpt"` // the source line, cut to 200 bytes
}

// Error implements error: "deploy function default/hello: detail: cause".
func (e *Error) Error() string {
	var b strings.Builder
	add := func(s string) {
		if s == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(s)
	}
	add(strings.TrimSpace(e.Op + " " + e.Resource))
	add(e.Detail)
	if e.Err != nil {
		add(e.Err.Error())
	}
	if b.Len() == 0 {
		return e.Code.Entry().Title
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the sentinel of the error's code.
func (e *Error) Is(target error) bool { return e.Code.Entry().Kind == target }

// CodeOf returns the code of the first *Error in err's chain, or CodeInternal.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// Shorten cuts s to at most n bytes plus an ellipsis, for error messages that
// quote what a stranger sent. It cuts between characters.
func Shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// Count is a number of things as people read it: "1 app", "2 apps".
func Count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
