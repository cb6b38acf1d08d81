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

// ChangeLogins changes the file of `picloud login`. Only its owner can read it. No other
// command changes the file between what change sees and what it leaves. When change
// returns an error, the file stays as it is.
func (f *Finder) ChangeLogins(change func(*Logins) error) error {
	return credentials.Edit(f.ConfigPath(), func(old []byte) ([]byte, error) {
		var l Logins
		if old != nil {
			var err error
			if l, err = parseLogins(old); err != nil {
				return nil, fmt.Errorf("%s %w", f.ConfigPath(), err)
			}
		}
		if err := change(&l); err != nil {
			return nil, err
		}
		if l.Contexts == nil {
			l.Contexts = []Context{}
		}
		data, err := json.MarshalIndent(l, "", "  ")
		return append(data, '\n'), err
	})
}

// errNothing ends a change of the logins that changes nothing.
var errNothing = errors.New("nothing is to be changed")

// RenewLogins gives the logins of a user at a node of this machine a new token, in place
// of one that has ended. servers are the URLs of the node. renewed says that there were
// such logins.
func (f *Finder) RenewLogins(servers []string, user, token string) (renewed bool, err error) {
	return f.renewLogins(token, func(c Context) bool {
		return c.User == user && slices.ContainsFunc(servers, func(s string) bool { return sameServer(s, c.Server) })
	})
}

// renewLogins gives the contexts that match a new token.
func (f *Finder) renewLogins(token string, match func(Context) bool) (renewed bool, err error) {
	if logins, _, err := f.Logins(); err != nil || !slices.ContainsFunc(logins.Contexts, match) {
		return false, nil //nolint:nilerr // a file that cannot be read has given no token
	}
	err = f.ChangeLogins(func(l *Logins) error {
		for i := range l.Contexts {
			if match(l.Contexts[i]) {
				l.Contexts[i].Token, renewed = token, true
			}
		}
		if !renewed {
			return errNothing // another command was faster
		}
		return nil
	})
	if errors.Is(err, errNothing) {
		return false, nil
	}
	return renewed && err == nil, err
}
