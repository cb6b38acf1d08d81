package picloud

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// The bounds of variables.
const (
	MaxEnvNames = 200
	MaxEnvSize  = 64 << 10 // names and values together, in bytes
)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// ValidVariable says whether s may name a variable or a secret.
func ValidVariable(s string) bool { return variable.MatchString(s) }

// CheckVariable returns an error when s is not a valid name of a variable or secret.
func CheckVariable(field, s string) error {
	if ValidVariable(s) {
		return nil
	}
	return &Error{
		Code: CodeInvalid, Op: "check " + field, Detail: fmt.Sprintf("%s %q is not a valid name", field, Shorten(s, 80)),
		Hint:   "use a letter or underscore, then up to 127 letters, digits or underscores",
		Fields: []FieldError{{Field: field, Message: "must match [A-Za-z_][A-Za-z0-9_]{0,127}"}},
	}
}

// Env are variables by name: text that scripts read with env.get. At most 200,
// together 64 KiB.
type Env map[string]string

// Check returns an error that lists every invalid variable.
func (e Env) Check() error { return checked("check variables", e.fields("env")) }

func (e Env) fields(field string) []FieldError {
	var out []FieldError
	size := 0
	for name, value := range e {
		size += len(name) + len(value)
		if !ValidVariable(name) {
			out = append(out, FieldError{field + "." + Shorten(name, 80), "must have a name that matches [A-Za-z_][A-Za-z0-9_]{0,127}"})
		}
		if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
			out = append(out, FieldError{field + "." + Shorten(name, 80), "must be UTF-8 without NUL"})
		}
	}
	if len(e) > MaxEnvNames {
		out = append(out, FieldError{field, fmt.Sprintf("must have at most %d variables", MaxEnvNames)})
	}
	if size > MaxEnvSize {
		out = append(out, FieldError{field, fmt.Sprintf("must have at most %s of names and values", Size(MaxEnvSize))})
	}
	slices.SortFunc(out, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
	return out
}
