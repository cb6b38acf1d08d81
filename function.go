package picloud

import (
	"slices"
	"time"
)

// MaxSourceSize is the largest script, in bytes.
const MaxSourceSize = 64 << 10

// DefaultApp is the app that the CLI uses when none is named.
const DefaultApp = "default"

// App is a group of functions that share members, executor processes and
// memory. Its name is its identity.
type App struct {
	Name      string      `json:"name"`
	Settings  AppSettings `json:"settings"`
	Rev       int64       `json:"rev"` // catalog revision of the last change of settings, env or secrets; the ETag
	CreatedAt time.Time   `json:"created_at"`
}

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
	// Methods are the HTTP methods the function takes; empty: all. Others get 405.
	Methods []string `json:"methods,omitempty"`
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

// CORS says which browser pages of other origins may call the function.
type CORS struct {
	// Origins are exact origins such as "https://example.org", or the single "*".
	Origins []string `json:"origins"`
	// Methods are allowed in preflights. Empty: the function's methods, or GET, HEAD and POST.
	Methods []string `json:"methods,omitempty"`
	// Headers are request headers allowed in preflights; "*" for any.
	Headers []string `json:"headers,omitempty"`
	// Expose are response headers that the page may read.
	Expose []string `json:"expose,omitempty"`
	// Credentials lets the page send cookies. Not together with origin "*".
	Credentials bool `json:"credentials,omitempty"`
	// MaxAge is how long a browser may keep a preflight's answer. Default 10 min, at most 24 h.
	MaxAge Duration `json:"max_age,omitempty"`
}

// Methods that a function can be limited to, and that CORS can allow.
var httpMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// Check returns an ErrInvalid error that lists every invalid field.
func (s Settings) Check() error {
	fields := s.Limits.fields()
	fields = append(fields, checkMethods("methods", s.Methods)...)
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

func (c CORS) fields() []FieldError {
	out := checkMethods("cors.methods", c.Methods)
	bad := func(field, message string) { out = append(out, FieldError{"cors." + field, message}) }
	if len(c.Origins) == 0 {
		bad("origins", "must list at least one origin, or \"*\"")
	}
	if len(c.Origins) > 100 || len(c.Headers) > 100 || len(c.Expose) > 100 {
		bad("origins", "lists hold at most 100 entries")
	}
	star := slices.Contains(c.Origins, "*")
	if star && len(c.Origins) > 1 {
		bad("origins", "\"*\" stands alone")
	}
	if star && c.Credentials {
		bad("credentials", "needs exact origins; browsers refuse them with \"*\"")
	}
	for _, o := range c.Origins {
		if o != "*" && !validOrigin(o) {
			bad("origins", "must be like https://example.org, without a path, not "+Shorten(o, 80))
		}
	}
	for _, h := range slices.Concat(c.Headers, c.Expose) {
		if h != "*" && !validToken(h) {
			bad("headers", "must list header names, not "+Shorten(h, 80))
		}
	}
	if c.MaxAge < 0 || c.MaxAge > Duration(24*time.Hour) {
		bad("max_age", "must be between 0s and 24h")
	}
	return out
}
