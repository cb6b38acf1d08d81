package picloud

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The bounds of what an app is configured with.
const (
	MaxEnvNames    = 200
	MaxEnvSize     = 64 << 10 // names and values together, in bytes
	MaxSecrets     = 100      // of one app
	MaxSecretSize  = 32 << 10 // of one value, in bytes
	MaxSecretsSize = 256 << 10
)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// ValidVariable says whether s may name a variable or a secret.
func ValidVariable(s string) bool { return variable.MatchString(s) }

// CheckVariable returns an error for a name that no variable or secret can have.
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

// Check names every variable that cannot be.
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

// AppSettings are what an app's functions have in common.
type AppSettings struct {
	// Limits stand below those of the app's functions.
	Limits Limits `json:"limits,omitzero"`
	// KV bounds the app's key-value store.
	KV KVQuota `json:"kv,omitzero"`
}

// Check names every setting that is out of its range.
func (s AppSettings) Check() error {
	fields := s.Limits.fields()
	if s.KV.Bytes < 0 || s.KV.Bytes > 16<<30 {
		fields = append(fields, FieldError{"kv.bytes", "must be between 1B and 16GiB"})
	}
	if s.KV.Keys < 0 || s.KV.Keys > 10_000_000 {
		fields = append(fields, FieldError{"kv.keys", "must be between 1 and 10000000"})
	}
	return checked("check settings", fields)
}

// Secret is what may be told of a secret: everything but its value.
type Secret struct {
	Name      string    `json:"name"`
	UpdatedBy string    `json:"updated_by"`
	UpdatedAt time.Time `json:"updated_at"`
}

// AppConfig is what nodes need of an app beside its functions. Nothing in it is
// readable without the cluster's key but names and variables.
type AppConfig struct {
	App      string      `json:"app"`
	Settings AppSettings `json:"settings,omitzero"`
	Env      Env         `json:"env,omitempty"`
	// Key is the app's data key, wrapped by the cluster's; empty: it has none yet.
	Key []byte `json:"key,omitempty"`
	// Secrets are the sealed values by name.
	Secrets map[string][]byte `json:"secrets,omitempty"`
	Rev     int64             `json:"rev"`
}
