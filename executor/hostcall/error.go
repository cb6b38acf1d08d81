package hostcall

import "fmt"

// Error is an error that a script can catch, and tell by its code.
type Error struct {
	Code    string // stable
	Message string // for people
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// ErrorCode is how the language finds the code.
func (e *Error) ErrorCode() string { return e.Code }

// Errorf makes an error. The message has the form of fmt.Sprintf.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
