package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/credentials"
)

// Logins is the content of the file that `picloud login` writes: a list of contexts.
type Logins struct {
	// Current is the name of the context that commands use; empty: none.
	Current  string    `json:"context"`
	Contexts []Context `json:"contexts"`
}

// Context is a saved login: a server and a token under a name.
type Context struct {
	Name string `json:"name"`
	credentials.File
}

// Find returns the context of a name, or nil.
func (l *Logins) Find(name string) *Context {
	for i := range l.Contexts {
		if l.Contexts[i].Name == name {
			return &l.Contexts[i]
		}
	}
	return nil
}

// Put saves a context in place of the one with its name, and makes it the current one.
func (l *Logins) Put(c Context) {
	if old := l.Find(c.Name); old != nil {
		*old = c
	} else {
		l.Contexts = append(l.Contexts, c)
	}
	l.Current = c.Name
}

// Remove removes the context of a name. If it was the current one, no context is current
// afterwards, so that no command goes to another cluster by surprise.
func (l *Logins) Remove(name string) {
	l.Contexts = slices.DeleteFunc(l.Contexts, func(c Context) bool { return c.Name == name })
	if l.Current == name {
		l.Current = ""
	}
}

// Names are the names of the contexts.
func (l *Logins) Names() []string {
	names := make([]string, 0, len(l.Contexts))
	for _, c := range l.Contexts {
		names = append(names, c.Name)
	}
	return names
}

// NameFor returns the name for a login when the user gives none: that of the context
// with the same server, else the server's host and port.
func (l *Logins) NameFor(server string) string {
	for _, c := range l.ordered() {
		if sameServer(c.Server, server) {
			return c.Name
		}
	}
	name := contextName(server)
	for n := 2; l.Find(name) != nil; n++ {
		name = fmt.Sprintf("%s-%d", contextName(server), n)
	}
	return name
}

// ordered are the contexts, the current one first.
func (l *Logins) ordered() []Context {
	var first, rest []Context
	for _, c := range l.Contexts {
		if c.Name == l.Current {
			first = append(first, c)
		} else {
			rest = append(rest, c)
		}
	}
	return append(first, rest...)
}

// contextName returns the host of a server, with the port if that is not the default
// one.
func contextName(server string) string {
	u, err := parseBase(server)
	if err != nil {
		return "default"
	}
	if port(u) == adminPort {
		return u.Hostname()
	}
	return strings.Trim(u.Hostname(), "[]") + ":" + port(u)
}

// maxContextName bounds the name of a context, in bytes.
const maxContextName = 100

// CheckContextName refuses a name that no context can have.
func CheckContextName(name string) error {
	if name == "" || len(name) > maxContextName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' }) {
		return fmt.Errorf("%q is not a name for a context such as pi-1: up to %d characters without blanks and slashes", picloud.Shorten(name, 40), maxContextName)
	}
	return nil
}

// ConfigPath is the file that `picloud login` writes.
func (f *Finder) ConfigPath() string {
	if dir := f.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "picloud", "config.json")
	}
	return filepath.Join(f.Getenv("HOME"), ".config", "picloud", "config.json")
}

// Logins reads the file of `picloud login`. A file that is not there holds no
// context. open says that others than its owner may read it.
func (f *Finder) Logins() (l Logins, open bool, err error) {
	data, open, err := credentials.ReadSecret(f.ConfigPath())
	if errors.Is(err, fs.ErrNotExist) {
		return Logins{}, false, nil
	}
	if err != nil {
		return Logins{}, open, err
	}
	l, err = parseLogins(data)
	return l, open, err
}

// parseLogins reads a file of contexts, or of one login without a name as earlier
// versions wrote it.
func parseLogins(data []byte) (Logins, error) {
	var file struct {
		Logins
		credentials.File
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return Logins{}, credentials.ErrFormat // without a quote: it may hold a token
	}
	if file.Token != "" && len(file.Contexts) == 0 {
		file.Put(Context{contextName(file.Server), file.File})
	}
	return file.Logins, nil
}

// SaveLogins replaces the file of `picloud login`. Only its owner can read it.
func (f *Finder) SaveLogins(l Logins) error {
	if l.Contexts == nil {
		l.Contexts = []Context{}
	}
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return credentials.Replace(f.ConfigPath(), append(data, '\n'))
}
