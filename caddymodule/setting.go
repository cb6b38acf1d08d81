package caddymodule

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent"
)

// setting is one setting of a node: an entry of the table in settings.go. Its
// name is that of the Caddyfile option and of the JSON field; flag and
// environment variable derive from it.
type setting struct {
	Name string // "http_port"
	Doc  string
	// Default is the value when nothing is set. Empty: there is no constant one,
	// and Otherwise says for people what the node does.
	Default, Otherwise string
	// Live says that the setting is Caddy's, so that a reload applies it. The
	// others are fixed while the node runs.
	Live bool
	// Secret says that no message quotes the value.
	Secret bool
	// Word is the name of the flag when it is not that of the setting.
	Word  string
	field field
}

// Flag returns the name of the command line flag, without hyphens in front.
func (s setting) Flag() string { return cmp.Or(s.Word, strings.ReplaceAll(s.Name, "_", "-")) }

// Env returns the name of the environment variable.
func (s setting) Env() string { return "PICLOUD_" + strings.ToUpper(s.Name) }

// Shown returns the default as people read it.
func (s setting) Shown() string {
	if s.Default != "" {
		return s.Default
	}
	return s.Otherwise
}

// Written returns the setting's value as the printed Caddyfile writes it: a
// reference to the environment variable.
func (s setting) Written() string {
	if s.Default != "" {
		return "{$" + s.Env() + ":" + s.Default + "}"
	}
	return `"{$` + s.Env() + `}"`
}

// settings are the values of all settings of a node, read and checked. Lock,
// Logger, Reserved and Version of the options belong to no setting.
type settings struct {
	agent.Options
	Bind      string // address that functions are served on; empty: all
	HTTPSPort int
	LogLevel  string
}

// field is where a setting's value goes.
type field interface {
	// read parses a text that is not empty into its place.
	read(to *settings, text string) *misfit
	// same reports whether two nodes have the same value.
	same(a, b *settings) bool
}

// misfit says what a text should have been: "a port", "between 1 and 65535".
type misfit struct{ noun, bounds string }

// in is a field of type T. parse reports whether the text fits.
type in[T comparable] struct {
	place func(*settings) *T
	parse func(text string) (value T, ok bool)
	want  misfit
}

func (f in[T]) read(to *settings, text string) *misfit {
	value, ok := f.parse(text)
	if !ok {
		return &f.want
	}
	*f.place(to) = value
	return nil
}

func (f in[T]) same(a, b *settings) bool { return *f.place(a) == *f.place(b) }

// texts are settings as a configuration writes them, by name. Caddy's
// placeholders such as {env.X} and {file.X} stand for what they name; a brace
// after a backslash is a brace.
type texts map[string]string

// literal returns values that mean themselves, from flags and environment, in
// the form of a configuration.
func literal(values map[string]string) texts {
	t := texts{}
	for name, value := range values {
		t[name] = escape(value)
	}
	return t
}

// escape writes a value so that Caddy finds no placeholder in it.
func escape(value string) string {
	return strings.NewReplacer("{", `\{`, "}", `\}`).Replace(value)
}

// read replaces placeholders, parses and checks the settings with these names;
// none means all. It fills in the constant defaults. The error is of type
// *invalidSetting.
func (t texts) read(names ...string) (settings, error) {
	repl := caddy.NewReplacer()
	var out settings
	for _, s := range table {
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		text := repl.ReplaceKnown(t[s.Name], "")
		if text == "" {
			text = s.Default
		}
		if text == "" {
			continue
		}
		// A line break would begin something else in every text that the value becomes
		// a part of: a log, a socket's address, a shell's command.
		wrong := &misfit{noun: "one line of text without control characters"}
		if strings.IndexFunc(text, unicode.IsControl) < 0 && utf8.ValidString(text) {
			wrong = s.field.read(&out, text)
		}
		if wrong != nil {
			return out, &invalidSetting{s, text, *wrong}
		}
	}
	return out, nil
}

// invalidSetting says that a text is not a value of its setting.
type invalidSetting struct {
	setting setting
	text    string
	want    misfit
}

// Error speaks to the author of a configuration.
func (e *invalidSetting) Error() string {
	return strings.TrimSpace(fmt.Sprintf("picloud: %s is %s, not %s %s", e.setting.Name, e.quoted(), e.want.noun, e.want.bounds))
}

// quoted is the text as messages show it.
func (e *invalidSetting) quoted() string {
	if e.setting.Secret {
		return "something that is not shown here"
	}
	return strconv.Quote(picloud.Shorten(e.text, 40))
}

// explain speaks to whoever sets environment variables.
func (e *invalidSetting) explain() error { return e.explainAs(e.setting.Env()) }

// explainAs speaks to whoever set the value by the name of a flag or a variable.
func (e *invalidSetting) explainAs(source string) error {
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: "read " + source,
		Detail: strings.TrimSpace(fmt.Sprintf("%s is not %s %s", e.quoted(), e.want.noun, e.want.bounds)),
		Hint:   strings.TrimSpace("use " + e.want.noun + " " + e.want.bounds),
	}
}

// changed returns the names of the fixed settings in which b differs from a.
func changed(a, b *settings) []string {
	var names []string
	for _, s := range table {
		if !s.Live && !s.field.same(a, b) {
			names = append(names, s.Name)
		}
	}
	return names
}

// settingNamed finds a setting by its name; the error lists all.
func settingNamed(name string) (setting, error) {
	names := make([]string, 0, len(table))
	for _, s := range table {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return setting{}, fmt.Errorf("unknown option %q; picloud has %s", name, strings.Join(names, ", "))
}

// literal returns a setting's value if it is set and no placeholder is in it.
func (t texts) literal(name string) (value string, ok bool) {
	value = caddy.NewReplacer().ReplaceKnown(t[name], "")
	return value, value != "" && escape(value) == t[name]
}
