package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/credentials"
)

// place is a file that may hold credentials, and what reading it gave.
type place struct {
	path string
	err  error // nil: it was read
	credentials.File
	open bool // others may read it
}

// ConfigPath is the file that `picloud login` writes.
func (f *Finder) ConfigPath() string {
	if dir := f.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "picloud", "config.json")
	}
	return filepath.Join(f.Getenv("HOME"), ".config", "picloud", "config.json")
}

// credentialPaths lists where credentials may be, in the order they count: the
// file of `picloud login`, then those that a node on this machine writes.
func (f *Finder) credentialPaths() []string {
	paths := []string{f.ConfigPath()}
	if dir := f.Getenv("PICLOUD_DATA"); dir != "" {
		paths = append(paths, credentials.Path(dir))
	}
	paths = append(paths, credentials.Path("data"))
	if dir := f.Getenv("XDG_DATA_HOME"); dir != "" {
		paths = append(paths, credentials.Path(filepath.Join(dir, "picloud")))
	} else if home := f.Getenv("HOME"); home != "" {
		paths = append(paths, credentials.Path(filepath.Join(home, ".local", "share", "picloud")))
	}
	return append(paths, credentials.Path(f.Service))
}

// places reads every file of credentialPaths.
func (f *Finder) places() []place {
	var found []place
	for _, path := range f.credentialPaths() {
		p := place{path: path}
		p.File, p.open, p.err = credentials.Read(path)
		found = append(found, p)
	}
	return found
}

// ReadToken reads a token that stands alone, or in a credentials file.
func (f *Finder) ReadToken(path string) (string, error) {
	var data []byte
	var open bool
	var err error
	if path == "-" {
		data, err = credentials.ReadSmall(f.Stdin)
	} else {
		data, open, err = credentials.ReadSecret(path)
	}
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	if open {
		f.warnOpen(path)
	}
	text := strings.TrimSpace(string(data))
	var file credentials.File
	if strings.HasPrefix(text, "{") && json.Unmarshal(data, &file) == nil {
		text = file.Token
	}
	if text == "" || strings.ContainsAny(text, " \t\r\n") {
		return "", fmt.Errorf("read token: %s does not hold a token", failure.StreamName(path))
	}
	return text, nil
}

func (f *Finder) warnOpen(path string) {
	f.Warnf("others can read the token in %s; mend it with: chmod 600 %s", path, path)
}

// reason says in a few words why a place gave no credentials.
func (p place) reason() string {
	switch {
	case errors.Is(p.err, fs.ErrNotExist):
		return "not there"
	case errors.Is(p.err, fs.ErrPermission):
		return "permission denied"
	default:
		return p.err.Error()
	}
}
