package failure

import (
	"errors"

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

// ErrInterrupted replaces the cancelled context that Ctrl-C leaves behind.
var ErrInterrupted = errors.New("interrupted")

// ErrReported ends a command with exit code 1 whose output already says why.
var ErrReported = errors.New("failed")

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
