package failure

import (
	"context"
	"errors"
	"syscall"

	"github.com/picloud/picloud"
)

// The exit codes.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitNotFound = 3
	exitConflict = 4
)

// Interrupted is the error of a command that a signal ended: Ctrl-C is 130, as
// shells have it.
type Interrupted struct{ Signal syscall.Signal }

// Error implements error.
func (i Interrupted) Error() string {
	if i.Signal == syscall.SIGINT {
		return "interrupted"
	}
	return i.Signal.String()
}

// Is reports true for context.Canceled, because the signal cancelled the context.
func (Interrupted) Is(target error) bool { return target == context.Canceled }

// ExitCode returns what a shell reports for a process that the signal killed.
func (i Interrupted) ExitCode() int { return 128 + int(i.Signal) }

// ErrReported ends a command with exit code 1 whose output already says why.
var ErrReported error = Reported{exitFailure}

// Reported ends a command whose output already says why.
type Reported struct{ Code int }

// Error implements error. It is empty because nothing more is to be printed.
func (Reported) Error() string { return "" }

// ExitCode returns the exit code.
func (r Reported) ExitCode() int { return r.Code }

// ExitCode returns the exit code that err asks for. An error with a method
// ExitCode() int decides for itself.
func ExitCode(err error) int {
	var usage *Usage
	var own interface{ ExitCode() int }
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.ExitCode()
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, picloud.ErrNotFound):
		return exitNotFound
	case errors.Is(err, picloud.ErrConflict), errors.Is(err, picloud.ErrPrecondition):
		return exitConflict
	default:
		return exitFailure
	}
}
