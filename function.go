package picloud

import (
	"slices"
	"time"
)

// MaxSourceSize is the largest script, in bytes.
const MaxSourceSize = 64 << 10

// Function is one script with a URL: /fn/{app}/{function}.
type Function struct {
	App       string    `json:"app"`
	Name      string    `json:"name"`
	Settings  Settings  `json:"settings"`
	Version   int       `json:"version"` // the live version; 0: none deployed yet
	Rev       int64     `json:"rev"`     // catalog revision of the last change; the ETag
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Settings are what can be changed about a function without a new version.
type Settings struct {
	Limits Limits `json:"limits,omitzero"`
	// Methods are the HTTP methods the function takes; empty: all. GET takes HEAD
	// too. Others get 405.
	Methods []string `json:"methods,omitempty"`
	// Routes are the patterns of what the function takes, see Pattern; empty: every
	// path. Other paths get 404, other methods 405, before code runs.
	Routes []string `json:"routes,omitempty"`
	// CORS is answered before code runs; nil: no CORS headers.
	CORS *CORS `json:"cors,omitempty"`
	// Env are variables of this function; they come before those of its app.
	Env Env `json:"env,omitempty"`
	// Secrets are the names of the app's secrets that the function may read;
	// nil: all of them, empty: none.
	Secrets []string `json:"secrets,omitzero"`
	// Egress lists where the function may connect to, see ParseEgress; empty: nowhere.
	Egress []string `json:"egress,omitempty"`
}

// Methods that a function can be limited to, and that CORS can allow.
var httpMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// Methods lists the HTTP methods that settings can name, in their usual order.
func Methods() []string { return slices.Clone(httpMethods) }

// Check returns an ErrInvalid error that lists every invalid field.
func (s Settings) Check() error {
	fields := s.Limits.fields()
	fields = append(fields, checkMethods("methods", s.Methods)...)
	fields = append(fields, checkRoutes(s.Routes, s.Methods)...)
	if s.CORS != nil {
		fields = append(fields, s.CORS.fields()...)
	}
	fields = append(fields, s.Env.fields("env")...)
	fields = append(fields, checkSecretNames("secrets", s.Secrets)...)
	fields = append(fields, checkEgress("egress", s.Egress)...)
	return checked("check settings", fields)
}

// checked is the error for the fields, if there are any.
func checked(op string, fields []FieldError) error {
	if len(fields) == 0 {
		return nil
	}
	return &Error{Code: CodeInvalid, Op: op, Detail: fields[0].Field + " " + fields[0].Message, Fields: fields}
}

func checkMethods(field string, methods []string) []FieldError {
	var out []FieldError
	for _, m := range methods {
		if !slices.Contains(httpMethods, m) {
			out = append(out, FieldError{field, "must list GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, not " + Shorten(m, 20)})
		}
	}
	return out
}
