package caddymodule

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// tree is a Caddy configuration as JSON, to be read and completed.
type tree map[string]any

// parseTree reads Caddy's JSON and keeps numbers as they are.
func parseTree(config []byte) (tree, error) {
	var t tree
	d := json.NewDecoder(bytes.NewReader(config))
	d.UseNumber()
	if err := d.Decode(&t); err != nil {
		return nil, err
	}
	if t == nil {
		t = tree{}
	}
	return t, nil
}

// at returns what is at a path; nil: nothing.
func (t tree) at(path ...string) any {
	var v any = map[string]any(t)
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// object returns the object at a path, and makes it if nothing is there.
func (t tree) object(path ...string) map[string]any {
	object := map[string]any(t)
	for _, name := range path {
		next, ok := object[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			object[name] = next
		}
		object = next
	}
	return object
}

// settings returns the settings of the node that the configuration has.
func (t tree) settings() (texts, error) {
	out := texts{}
	object, _ := t.at("apps", "picloud").(map[string]any)
	for name, value := range object {
		if _, err := settingNamed(name); err != nil {
			return nil, err
		}
		text, ok := value.(string)
		if !ok {
			return nil, fmt.Errorf("picloud: %s is not a text", name)
		}
		if text != "" {
			out[name] = text
		}
	}
	return out, nil
}

// hasNode reports whether a site of the configuration leads to a node.
func (t tree) hasNode() bool {
	return t.at("apps", "picloud") != nil || hasHandler(t.at("apps", "http"))
}

func hasHandler(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		if name, _ := v["handler"].(string); name == "picloud" || name == "picloud_manager" {
			return true
		}
		for _, inner := range v {
			if hasHandler(inner) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, hasHandler)
	}
	return false
}

// complete writes an owner's configuration with what the node's settings mean for
// the parts that the owner left open, so that a setting means the same with and
// without sites of one's own.
func (h home) complete(t tree) ([]byte, error) {
	admin := t.object("admin")
	if admin["listen"] == nil && admin["disabled"] == nil {
		admin["listen"] = escape(h.adminAddress())
	}
	log := t.object("logging", "logs", "default")
	if log["level"] == nil {
		log["level"] = h.texts["log_level"]
	}
	if log["encoder"] == nil {
		log["encoder"] = map[string]any{"format": voiceName}
	}
	if log["exclude"] == nil && log["include"] == nil {
		log["exclude"] = quietLoggers
	}
	if server := t.object("apps", "http"); server["grace_period"] == nil {
		server["grace_period"] = gracePeriod // without one Caddy waits for ever
	}
	t.object("apps")["picloud"] = App{texts: h.texts}
	return json.Marshal(t)
}

// below writes the embedded configuration with what an owner's Caddyfile without
// sites says beside the settings, such as the e-mail address for certificates.
func (h home) below(t tree) ([]byte, error) {
	embedded, err := h.config()
	if err != nil {
		return nil, err
	}
	out, err := parseTree(embedded)
	if err != nil {
		return nil, err
	}
	delete(t.object("apps"), "picloud") // its settings are in the home
	overlay(out, t)
	return json.Marshal(out)
}

// overlay puts what is in b over a: objects are merged, lists are joined.
func overlay(a, b map[string]any) {
	for name, over := range b {
		switch over := over.(type) {
		case map[string]any:
			if under, ok := a[name].(map[string]any); ok {
				overlay(under, over)
				continue
			}
		case []any:
			if under, ok := a[name].([]any); ok {
				a[name] = append(under, over...)
				continue
			}
		}
		a[name] = over
	}
}

var (
	variable = regexp.MustCompile(`\{\$(\w+)(:[^}]*)?\}`)
	// plain are values that mean themselves wherever they stand in a Caddyfile.
	plain = regexp.MustCompile(`^[A-Za-z0-9._/:@%+,=~-]*$`)
)

// marks are words that stand for values while a Caddyfile is read, so that the
// reader of Caddyfiles never sees a value that it could take for syntax.
type marks map[string]string

// insert replaces {$NAME} and {$NAME:default} of known variables in a Caddyfile.
// Caddy's own reader sees the process's environment only, which lacks flags and
// defaults, and replaces the others.
func insert(caddyfile []byte, known map[string]string) ([]byte, marks) {
	m := marks{}
	if address, err := netip.ParseAddr(known["PICLOUD_BIND"]); err == nil && address.Is6() {
		// In front of a port, an IPv6 address stands in brackets.
		caddyfile = bytes.ReplaceAll(caddyfile, []byte("{$PICLOUD_BIND}:"), []byte("["+address.String()+"]:"))
	}
	return variable.ReplaceAllFunc(caddyfile, func(found []byte) []byte {
		value, ok := known[string(variable.FindSubmatch(found)[1])]
		switch {
		case !ok:
			return found
		case plain.MatchString(value):
			return []byte(value)
		}
		var random [16]byte
		_, _ = rand.Read(random[:]) // it never fails
		mark := "picloud" + hex.EncodeToString(random[:])
		m[mark] = value
		return []byte(mark)
	}), m
}

// hide writes an error without the words that stand for values.
func (m marks) hide(err error) error {
	text := err.Error()
	for mark := range m {
		text = strings.ReplaceAll(text, mark, "{$…}")
	}
	return errors.New(text)
}

// replace puts the values in the place of their marks, and of the placeholders
// {env.NAME} of the variables that Caddy does not know.
func (t tree) replace(m marks, unknown map[string]string) {
	var pairs, bare []string
	for mark, value := range m {
		pairs, bare = append(pairs, mark, escape(value)), append(bare, mark, value)
	}
	for name, value := range unknown {
		pairs, bare = append(pairs, "{env."+name+"}", escape(value)), append(bare, "{env."+name+"}", value)
	}
	root, isText := t.at("storage", "root").(string)
	replaceTexts(map[string]any(t), strings.NewReplacer(pairs...))
	if isText { // Caddy replaces no placeholders there
		t.object("storage")["root"] = strings.NewReplacer(bare...).Replace(root)
	}
}

func replaceTexts(v any, with *strings.Replacer) any {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			v[name] = replaceTexts(inner, with)
		}
	case []any:
		for i, inner := range v {
			v[i] = replaceTexts(inner, with)
		}
	case string:
		return with.Replace(v)
	}
	return v
}
