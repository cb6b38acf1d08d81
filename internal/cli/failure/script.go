package failure

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/output"
)

// printScript points at the place in the script.
func printScript(w io.Writer, file string, s *picloud.ScriptError) {
	if file == "" {
		file = "script"
	}
	switch {
	case s.Line > 0 && s.Column > 0:
		fmt.Fprintf(w, "  %s:%d:%d: %s\n", file, s.Line, s.Column, output.Clean(s.Message))
	case s.Line > 0:
		fmt.Fprintf(w, "  %s:%d: %s\n", file, s.Line, output.Clean(s.Message))
	default:
		fmt.Fprintf(w, "  %s: %s\n", file, output.Clean(s.Message))
	}
	excerpt := strings.TrimRight(s.Excerpt, "\r\n")
	if excerpt == "" {
		return
	}
	fmt.Fprintf(w, "    %s\n", output.Clean(excerpt))
	if s.Column > 0 && s.Column <= utf8.RuneCountInString(excerpt)+1 {
		fmt.Fprintf(w, "    %s^\n", indent(excerpt, s.Column-1))
	}
}

// indent returns white space as wide as the first n characters of line. It keeps tabs, so
// that a caret in the next line points at the right column.
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
