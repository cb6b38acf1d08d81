package picloud

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that reads and writes Go duration strings, such
// as "1m30s", in JSON and text.
type Duration time.Duration

// MarshalText writes the duration as a Go duration string.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// ParseDuration reads a Go duration string that may begin with weeks and days of 24
// hours: "90s", "1d", "2w", "1d12h", "-1.5d". Every place where a person writes a
// duration reads it with this function.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration such as \"10s\", \"1m30s\" or \"7d\"", Shorten(s, 40))
	rest, negative := strings.CutPrefix(s, "-")
	var days float64
	for _, unit := range [...]struct {
		suffix string
		days   float64
	}{{"w", 7}, {"d", 1}} {
		number, after, found := strings.Cut(rest, unit.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || strings.Trim(number, "0123456789.") != "" {
			return 0, bad
		}
		days, rest = days+n*unit.days, after
		if rest == "" {
			rest = "0"
		}
	}
	clock, err := time.ParseDuration(rest)
	total := days*float64(24*time.Hour) + float64(clock)
	if err != nil || rest[0] == '-' || rest[0] == '+' || total >= math.MaxInt64 {
		return 0, bad
	}
	out := time.Duration(days*float64(24*time.Hour)) + clock
	if negative {
		out = -out
	}
	return out, nil
}

// String returns the Go duration string.
func (d Duration) String() string { return time.Duration(d).String() }

// Size is a number of bytes. It writes itself as a number and reads a number
// or a string with a unit, such as "64MiB" or "8MB".
type Size int64

var units = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"B", 1},
}

// ParseSize reads "1048576", "64MiB" or "8MB".
func ParseSize(s string) (Size, error) {
	bad := fmt.Errorf("%q is not a size such as 1048576, \"64MiB\" or \"8MB\"", Shorten(s, 40))
	number, factor := strings.TrimSpace(s), 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(v) || v < 0 || v*factor >= math.MaxInt64 {
		return 0, bad
	}
	return Size(v * factor), nil
}

// UnmarshalJSON reads a number of bytes or a string with a unit.
func (s *Size) UnmarshalJSON(b []byte) error {
	var text string
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	} else {
		text = string(b)
	}
	v, err := ParseSize(text)
	if err != nil {
		return err
	}
	*s = v
	return nil
}

// String writes the size with the unit that makes it shortest: 67108864 is "64MiB",
// 32000000 is "32MB". Of two that do, the larger one, a binary one before a decimal one.
func (s Size) String() string {
	best := strconv.FormatInt(int64(s), 10) + "B"
	digits := len(best) - 1
	for _, i := range []int{2, 1, 0, 5, 4, 3} { // GiB MiB KiB, GB MB KB
		u := Size(units[i].bytes)
		if s == 0 || s%u != 0 {
			continue
		}
		if number := strconv.FormatInt(int64(s/u), 10); len(number) < digits {
			best, digits = number+units[i].suffix, len(number)
		}
	}
	return best
}
