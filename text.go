package picloud

import "unicode/utf8"

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
