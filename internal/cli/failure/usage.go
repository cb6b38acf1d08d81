package failure

import (
	"fmt"

	"github.com/spf13/cobra"
)

// Usage says that the command line is wrong: exit code 2.
type Usage struct {
	Cmd     *cobra.Command
	Message string
}

// Error implements error.
func (e *Usage) Error() string { return e.Message }

// Usagef makes the error of a wrong command line.
func Usagef(cmd *cobra.Command, format string, args ...any) error {
	return &Usage{cmd, fmt.Sprintf(format, args...)}
}

// UsageText returns the error of a value that has the wrong form.
func UsageText(value, want string) error {
	return fmt.Errorf("%q is not %s", value, want)
}
