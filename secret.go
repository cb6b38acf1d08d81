package picloud

import (
	"fmt"
	"time"
)

// The bounds of secrets.
const (
	MaxSecrets     = 100       // of one app
	MaxSecretSize  = 32 << 10  // of one value, in bytes
	MaxSecretsSize = 256 << 10 // of all values of one app, in bytes
)

// Secret describes a secret to people: everything except its value.
type Secret struct {
	Name      string    `json:"name"`
	UpdatedBy string    `json:"updated_by"`
	UpdatedAt time.Time `json:"updated_at"`
}

func checkSecretNames(field string, names []string) []FieldError {
	var out []FieldError
	if len(names) > MaxSecrets {
		out = append(out, FieldError{field, fmt.Sprintf("must have at most %d names", MaxSecrets)})
	}
	for _, name := range names {
		if !ValidVariable(name) {
			out = append(out, FieldError{field, fmt.Sprintf("must list names of secrets, not %q", Shorten(name, 80))})
		}
	}
	return out
}
