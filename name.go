package picloud

import (
	"fmt"
	"regexp"
)

// MaxNameLength is the longest slug, in bytes: one DNS label.
const MaxNameLength = 63

var slug = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// ValidName reports whether s can name an app, a function, a user or a node:
// a lower-case letter, then up to 62 letters, digits or hyphens.
func ValidName(s string) bool { return slug.MatchString(s) }

// CheckName returns an ErrInvalid error that names the field when s is not a
// valid name.
func CheckName(field, s string) error {
	if ValidName(s) {
		return nil
	}
	return &Error{
		Code:   CodeInvalid,
		Op:     "check " + field,
		Detail: fmt.Sprintf("%s %q is not a valid name", field, Shorten(s, 80)),
		Hint:   "use a lower-case letter, then up to 62 lower-case letters, digits or hyphens",
		Fields: []FieldError{{Field: field, Message: "must match [a-z][a-z0-9-]{0,62}"}},
	}
}
