package redact

import (
	"slices"
	"strings"
)

// finder replaces the forms of secrets in texts.
type finder struct {
	replacer *strings.Replacer
	values   []piece  // as they are
	repeated []string // marks of which there is one for each piece
}

// piece is a part of a form, and what stands for it.
type piece struct{ text, mark string }

// finder builds the search for everything that is hidden.
func (x *Redactor) finder() *finder {
	f := &finder{}
	var all []piece
	for _, value := range x.order {
		mark := "[secret " + x.names[value] + "]"
		f.values = append(f.values, cut(value, mark)...)
		for _, form := range forms(value) {
			parts := cut(form, mark)
			if len(parts) > 1 && !slices.Contains(f.repeated, mark) {
				f.repeated = append(f.repeated, mark)
			}
			all = append(all, parts...)
		}
	}
	// The longest first, so that a secret within another does not cut it up.
	slices.SortFunc(all, func(a, b piece) int {
		if d := len(b.text) - len(a.text); d != 0 {
			return d
		}
		return strings.Compare(a.text, b.text)
	})
	flat := make([]string, 0, 2*len(all))
	for _, p := range all {
		flat = append(flat, p.text, p.mark)
	}
	f.replacer = strings.NewReplacer(flat...)
	return f
}

// cut cuts a long form into pieces of at least pieceSize bytes.
func cut(form, mark string) (out []piece) {
	for len(form) >= 2*pieceSize {
		out = append(out, piece{form[:pieceSize], mark})
		form = form[pieceSize:]
	}
	return append(out, piece{form, mark})
}

// hide returns s with a mark for each secret in it.
func (f *finder) hide(s string) string {
	s = f.replacer.Replace(s)
	if len(s) >= cutText {
		s = f.ending(s)
	}
	for _, mark := range f.repeated {
		for strings.Contains(s, mark+mark) {
			s = strings.ReplaceAll(s, mark+mark, mark)
		}
	}
	return s
}

// ending hides the beginning of a secret at the end of a text that may have been
// cut there: by the limits of messages.
func (f *finder) ending(s string) string {
	longest, mark := shortSecret-1, ""
	for _, p := range f.values {
		if n := overlap(s, p.text); n > longest {
			longest, mark = n, p.mark
		}
	}
	if mark == "" {
		return s
	}
	return s[:len(s)-longest] + mark
}

// overlap returns the length of the longest beginning of text, but not all of
// it, that s ends with; 0 when it is under shortSecret. It takes time in
// proportion to text, whatever both are (Knuth, Morris, Pratt).
func overlap(s, text string) int {
	s = s[len(s)-min(len(s), len(text)-1):]
	if len(s) < shortSecret || !strings.Contains(s, text[:shortSecret]) {
		return 0
	}
	back := make([]int, len(text)) // the longest proper beginning of text that text[:i+1] ends with
	for i, n := 1, 0; i < len(text); i++ {
		for n > 0 && text[i] != text[n] {
			n = back[n-1]
		}
		if text[i] == text[n] {
			n++
		}
		back[i] = n
	}
	n := 0
	for i := range len(s) { // s is shorter than text, so that n stays below len(text)
		for n > 0 && s[i] != text[n] {
			n = back[n-1]
		}
		if s[i] == text[n] {
			n++
		}
	}
	if n < shortSecret {
		return 0
	}
	return n
}
