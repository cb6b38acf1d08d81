package risor

import (
	"errors"
	"unicode/utf8"

	"github.com/picloud/picloud/executor/hostcall"
)

// badRequest is an error about what the caller sent. A script that does not catch it
// lets the caller know: the answer is 400, and the function has not failed.
type badRequest struct{ coded *hostcall.Error }

// Error implements error.
func (e badRequest) Error() string { return e.coded.Message }

// Unwrap leads to the error with its code.
func (e badRequest) Unwrap() error { return e.coded }

// ofRequest marks an error of reading the request's body.
func ofRequest(err error) error {
	var coded *hostcall.Error
	if !errors.As(err, &coded) {
		return err
	}
	return badRequest{&hostcall.Error{Code: coded.Code, Message: "request body: " + coded.Message}}
}

// notUTF8 is the error of a body that is no text.
func notUTF8(body []byte) error {
	line, column := 1, 1
	for at := 0; at < len(body); {
		c, size := utf8.DecodeRune(body[at:])
		if c == utf8.RuneError && size == 1 {
			break
		}
		if column++; c == '\n' {
			line, column = line+1, 1
		}
		at += size
	}
	return ofRequest(hostcall.Errorf("invalid_utf8", "not UTF-8 at line %d, column %d", line, column))
}
