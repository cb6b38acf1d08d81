package output

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Took writes a duration for people: in ms, or in seconds with one decimal.
func Took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}

// Plural writes a count with its noun.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Compact returns a value as JSON on one line, without escapes for HTML.
func Compact(v any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// Listed joins what people read: "a, b and c".
func Listed(items []string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:len(items)-1], ", ") + " and " + items[len(items)-1]
}

// Counts lists counts with their nouns, without those that are zero: "2 functions
// and 1 key".
func Counts(counts ...Count) string {
	var items []string
	for _, c := range counts {
		if c.N > 0 {
			items = append(items, Plural(c.N, c.Noun))
		}
	}
	return Listed(items)
}

// Count is a number of things.
type Count struct {
	N    int
	Noun string
}
