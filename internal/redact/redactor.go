// Package redact hides the secrets that functions were given from what the node
// keeps and shows of them: logs, records and errors.
package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"html"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/picloud/picloud"
)

const (
	// shortSecret is the length of the shortest value that is hidden, encodedSecret
	// that of the shortest value whose encoded forms are hidden too. Shorter values
	// occur by chance in too many texts.
	shortSecret   = 4
	encodedSecret = 8
	// secretLine is the length from which a line of a multi-line secret is hidden
	// on its own.
	secretLine = 16
	// maxHidden and maxHiddenSize bound what is remembered of one app: old values
	// of secrets that change go first. There is room for all secrets twice, so
	// that those in use do not push each other out.
	maxHidden     = 2 * picloud.MaxSecrets
	maxHiddenSize = 2 * picloud.MaxSecretsSize
	// cutText is the shortest text that a limit of messages may have cut.
	cutText = 1 << 10
	// longSecret is the longest value whose rarer encodings are hidden too: they
	// all take memory.
	longSecret = 4 << 10
	// pieceSize is the length of the pieces in which long forms are looked for, so
	// that secrets and texts that are made for it do not cost the node much time.
	pieceSize = 512
)

// Secrets knows the secrets that each app was given since the node started. The
// zero value knows none. Every call asks it, so it is copy-on-write: reading is
// one atomic load. It guards against accidents, not against the function: a
// function that takes a secret apart, or encodes it in a way of its own, gets it
// past the search.
type Secrets struct {
	apps atomic.Pointer[map[string]*Redactor] // replaced whole; nil: nobody was given a secret yet
	mu   sync.Mutex                           // of those who replace it
}

// Redactor hides the secrets of one app. It is immutable. The nil Redactor hides
// nothing.
type Redactor struct {
	names map[string]string // of the secrets, by value
	order []string          // values, the oldest first
	size  int
	find  func() *finder // built at the first text: many secrets are often learned at once
}

// Learn hides a value from now on. It returns once that holds.
func (r *Secrets) Learn(app, name, value string) {
	if len(value) < shortSecret || r.Of(app).knows(value) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.Of(app)
	if old.knows(value) {
		return
	}
	r.replace(func(apps map[string]*Redactor) { apps[app] = old.with(name, value) })
}

// Retain drops what is known of apps that are gone.
func (r *Secrets) Retain(exists func(app string) bool) {
	if r.apps.Load() == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replace(func(apps map[string]*Redactor) {
		maps.DeleteFunc(apps, func(app string, _ *Redactor) bool { return !exists(app) })
	})
}

// replace changes a copy of what is known. The caller holds mu.
func (r *Secrets) replace(change func(map[string]*Redactor)) {
	next := map[string]*Redactor{}
	if known := r.apps.Load(); known != nil {
		maps.Copy(next, *known)
	}
	change(next)
	r.apps.Store(&next)
}

// Of returns what is hidden of an app; nil: nothing.
func (r *Secrets) Of(app string) *Redactor {
	known := r.apps.Load()
	if known == nil {
		return nil
	}
	return (*known)[app]
}

func (x *Redactor) knows(value string) bool { return x != nil && x.names[value] != "" }

// with returns a Redactor that hides one more value.
func (x *Redactor) with(name, value string) *Redactor {
	next := &Redactor{names: map[string]string{value: name}, order: []string{value}}
	if x != nil {
		next.order, next.size = append(slices.Clone(x.order), value), x.size
		maps.Copy(next.names, x.names)
	}
	next.size += len(value)
	for len(next.order) > maxHidden || next.size > maxHiddenSize {
		oldest := next.order[0]
		next.order = next.order[1:]
		next.size -= len(oldest)
		delete(next.names, oldest)
	}
	next.find = sync.OnceValue(next.finder)
	return next
}

// forms are the ways to write a value that are hidden.
func forms(value string) []string {
	out := []string{value}
	switch {
	case len(value) > longSecret:
		out = append(out, base64.StdEncoding.EncodeToString([]byte(value)))
		if quoted, err := json.Marshal(value); err == nil {
			out = append(out, strings.Trim(string(quoted), `"`))
		}
	case len(value) >= encodedSecret:
		for _, text := range []string{value, strings.TrimRight(value, "\r\n")} {
			out = append(out, base64Forms(text)...)
			out = append(out, hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text))))
			out = append(out, url.QueryEscape(text), url.PathEscape(text), html.EscapeString(text))
			out = append(out, percent(text, "-_.~", false), percent(text, "-_.~", true), percent(text, "-_.!~*'()", false))
			out = append(out, strings.Trim(strconv.Quote(text), `"`))
			if quoted, err := json.Marshal(text); err == nil {
				out = append(out, strings.Trim(string(quoted), `"`))
			}
		}
	}
	if !utf8.ValidString(value) { // as text it has become something else
		out = append(out, strings.ToValidUTF8(value, "\uFFFD"), string([]rune(value)))
	}
	if strings.Contains(value, "\n") {
		for line := range strings.SplitSeq(value, "\n") {
			if line = strings.TrimSpace(line); len(line) >= secretLine {
				out = append(out, line)
			}
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(s string) bool { return len(s) < shortSecret })
}

// base64Forms are how a value looks in base64, alone and, but for the ends that
// mix with its neighbours, as a part of something longer: user:password.
func base64Forms(value string) []string {
	var out []string
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		out = append(out, e.EncodeToString([]byte(value)), e.WithPadding(base64.NoPadding).EncodeToString([]byte(value)))
		for shift := range 3 {
			text := e.EncodeToString([]byte(strings.Repeat("\x00", shift) + value))
			out = append(out, text[(shift*8+5)/6:(shift+len(value))*8/6])
		}
	}
	return out
}

// percent escapes all but letters, digits and the safe characters.
func percent(s, safe string, lower bool) string {
	digits := "0123456789ABCDEF"
	if lower {
		digits = "0123456789abcdef"
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(safe, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}

// Text returns s with every secret hidden. The nil Redactor hides nothing.
func (x *Redactor) Text(s string) string {
	if x == nil {
		return s
	}
	return x.find().hide(s)
}

// value hides secrets in what a log's fields can hold, keys included. Maps and
// lists are changed in place.
func (x *Redactor) value(v any) any {
	switch v := v.(type) {
	case string:
		return x.Text(v)
	case []byte:
		if text := x.Text(string(v)); text != string(v) {
			return text
		}
	case int64:
		return x.number(v, strconv.FormatInt(v, 10))
	case float64:
		return x.number(v, strconv.FormatFloat(v, 'f', -1, 64))
	case []any:
		for i := range v {
			v[i] = x.value(v[i])
		}
	case map[string]any:
		x.fields(v)
	}
	return v
}

// number hides a secret that is one.
func (x *Redactor) number(v any, text string) any {
	if hidden := x.Text(text); hidden != text {
		return hidden
	}
	return v
}

func (x *Redactor) fields(m map[string]any) {
	renamed := map[string]any{}
	for name, v := range m {
		v = x.value(v)
		m[name] = v
		if hidden := x.Text(name); hidden != name {
			delete(m, name)
			renamed[hidden] = v
		}
	}
	maps.Copy(m, renamed)
}

// Record hides secrets in a log record.
func (x *Redactor) Record(rec *picloud.LogRecord) {
	if x != nil {
		rec.Message = x.Text(rec.Message)
		x.fields(rec.Fields)
	}
}

// Err hides secrets in an error that people see.
func (x *Redactor) Err(err error) error {
	var e *picloud.Error
	if x == nil || err == nil || !errors.As(err, &e) {
		return err
	}
	hidden := *e
	hidden.Detail, hidden.Hint = x.Text(e.Detail), x.Text(e.Hint)
	if e.Err != nil {
		if text := x.Text(e.Err.Error()); text != e.Err.Error() {
			hidden.Err = errors.New(text)
		}
	}
	if e.Script != nil {
		script := *e.Script
		script.Message, script.Excerpt = x.Text(script.Message), x.Text(script.Excerpt)
		hidden.Script = &script
	}
	return &hidden
}
