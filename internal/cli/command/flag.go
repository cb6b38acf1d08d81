package command

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/picloud/picloud/internal/cli/failure"
)

// WrongFlag explains a flag that cannot be parsed. For one that does not exist it names
// those that look alike.
func WrongFlag(cmd *cobra.Command, err error) error {
	unknown := (*pflag.NotExistError)(nil)
	if errors.As(err, &unknown) && isDigits(unknown.GetSpecifiedName()) {
		return failure.Usagef(cmd, "%s; put -- before a value that starts with a hyphen, such as a negative number", err.Error())
	}
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return failure.Usagef(cmd, "%s", err.Error())
	}
	name := unknown.GetSpecifiedName()
	var near []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && alike(name, f.Name) {
			near = append(near, "--"+f.Name)
		}
	})
	if len(near) == 0 {
		return failure.Usagef(cmd, "%s", err.Error())
	}
	return failure.Usagef(cmd, "%s; did you mean %s?", err.Error(), strings.Join(near, " or "))
}

// isDigits reports whether what was read as flags begins as a number does.
func isDigits(name string) bool {
	return name != "" && (name[0] >= '0' && name[0] <= '9' || name[0] == '.')
}

// alike reports whether a name may be a mistyped other one.
func alike(typed, name string) bool {
	typed, name = strings.ToLower(typed), strings.ToLower(name)
	return strings.HasPrefix(name, typed) || distance(typed, name) <= min(2, len(name)/2)
}

// distance is how many characters must be added, removed or replaced, or swapped with
// their neighbours, to make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1) // rows[i][j] is the distance of a[:i] and b[:j]
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for j := range rows[i] {
			switch {
			case i == 0 || j == 0:
				rows[i][j] = i + j
				continue
			case a[i-1] == b[j-1]:
				rows[i][j] = rows[i-1][j-1]
			default:
				rows[i][j] = 1 + rows[i-1][j-1]
			}
			rows[i][j] = min(rows[i][j], rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
