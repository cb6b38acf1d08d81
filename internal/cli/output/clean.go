package output

import (
	"fmt"
	"strings"
)

// Clean replaces the control characters of text from scripts and servers, so that such
// text cannot control the terminal.
func Clean(text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if strings.IndexFunc(text, Steers) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !Steers(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Steers reports whether r is a control character, other than tab and newline,
// or turns the direction of the text around it.
func Steers(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 ||
		r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
