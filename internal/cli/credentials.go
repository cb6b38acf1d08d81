package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxCredentials bounds what is read of a file or stream that holds a token.
const maxCredentials = 64 << 10

// credentials are what a file says about how to reach a node. The node writes
// one at its first start, `picloud login` writes another.
type credentials struct {
	Server string `json:"server"`
	User   string `json:"user,omitempty"`
	Token  string `json:"token"`
	// Functions is where the node serves functions. Empty: port 8080 of the server.
	Functions string `json:"functions,omitempty"`
}

// place is a file that may hold credentials, and what reading it gave.
type place struct {
	path string
	err  error // nil: it was read
	credentials
	open bool // others may read it
}

// configPath is the file that `picloud login` writes.
func (c *cli) configPath() string {
	if dir := c.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "picloud", "config.json")
	}
	return filepath.Join(c.Getenv("HOME"), ".config", "picloud", "config.json")
}

// credentialPaths lists where credentials may be, in the order they count: the
// file of `picloud login`, then those that a node on this machine writes.
func (c *cli) credentialPaths() []string {
	paths := []string{c.configPath()}
	if dir := c.Getenv("PICLOUD_DATA"); dir != "" {
		paths = append(paths, filepath.Join(dir, "credentials"))
	}
	paths = append(paths, filepath.Join("data", "credentials"))
	if dir := c.Getenv("XDG_DATA_HOME"); dir != "" {
		paths = append(paths, filepath.Join(dir, "picloud", "credentials"))
	} else if home := c.Getenv("HOME"); home != "" {
		paths = append(paths, filepath.Join(home, ".local", "share", "picloud", "credentials"))
	}
	return append(paths, serviceCredentials)
}

// serviceCredentials are those of a node that systemd runs. Tests have others,
// for there may be one on the machine.
var serviceCredentials = "/var/lib/picloud/credentials"

// places reads every file of credentialPaths.
func (c *cli) places() []place {
	var found []place
	for _, path := range c.credentialPaths() {
		p := place{path: path}
		p.credentials, p.open, p.err = readCredentials(path)
		found = append(found, p)
	}
	return found
}

// readCredentials reads one file, and tells whether others may read it too.
func readCredentials(path string) (credentials, bool, error) {
	var read credentials
	data, open, err := readSecret(path)
	if err != nil {
		return read, false, err
	}
	if err := json.Unmarshal(data, &read); err != nil {
		return read, open, errors.New("is no JSON credentials file") // the cause may quote the token
	}
	if read.Token == "" {
		return read, open, errors.New("holds no token")
	}
	return read, open, nil
}

// readSecret reads a small file, and tells whether others may read it too.
func readSecret(path string) ([]byte, bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	data, err := readSmall(f)
	return data, info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0, err
}

// readSmall reads at most maxCredentials bytes.
func readSmall(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxCredentials+1))
	if err == nil && len(data) > maxCredentials {
		err = fmt.Errorf("holds more than %d bytes", maxCredentials)
	}
	return data, err
}

// readToken reads a token that stands alone, or in a credentials file.
func (c *cli) readToken(path string) (string, error) {
	var data []byte
	var open bool
	var err error
	if path == "-" {
		data, err = readSmall(c.Stdin)
	} else {
		data, open, err = readSecret(path)
	}
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	if open {
		c.warnOpen(path)
	}
	text := strings.TrimSpace(string(data))
	var file credentials
	if strings.HasPrefix(text, "{") && json.Unmarshal(data, &file) == nil {
		text = file.Token
	}
	if text == "" || strings.ContainsAny(text, " \t\r\n") {
		return "", fmt.Errorf("read token: %s holds no token", streamName(path))
	}
	return text, nil
}

func streamName(path string) string {
	if path == "-" {
		return "standard input"
	}
	return path
}

func (c *cli) warnOpen(path string) {
	c.warnf("others can read the token in %s; mend it with: chmod 600 %s", path, path)
}

// saveCredentials writes the file of `picloud login`, readable by its owner
// only from the first byte on, and whole or not at all.
func saveCredentials(path string, v credentials) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".config-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails after the rename, as it should
	if _, err = tmp.Write(append(data, '\n')); err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
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
