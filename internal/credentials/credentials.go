// Package credentials holds the file that says how to reach a node and as whom.
// A node writes one into its data folder at its first start; `picloud login`
// writes another into the user's configuration.
package credentials

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/picloud/picloud/internal/datadir"
)

// Name is the name of the file in a node's data folder.
const Name = "credentials"

// MaxSize bounds what is read of a file or stream that holds a token, in bytes.
const MaxSize = 64 << 10

// Why a file that could be read holds no credentials. Neither quotes the file:
// it may hold a token.
var (
	ErrFormat  = errors.New("is not a JSON credentials file")
	ErrNoToken = errors.New("does not hold a token")
)

// File is the content of a credentials file.
type File struct {
	Server string `json:"server"` // URL of the control API
	// Functions is the URL that functions are below. Empty: port 8080 of the server.
	Functions string `json:"functions,omitempty"`
	User      string `json:"user,omitempty"`
	Token     string `json:"token"`
}

// Path is where a node with that data folder keeps its file.
func Path(dataDir string) string { return filepath.Join(dataDir, Name) }

// Read reads the file at path. open says that others than its owner may read it.
func Read(path string) (f File, open bool, err error) { return ReadOf(nil, path) }

// ReadOf is Read for a file that nobody has named: it must belong to one of owners. Nil
// stands for everybody.
func ReadOf(owners datadir.Owners, path string) (f File, open bool, err error) {
	data, open, err := readSecret(owners, path)
	if err != nil {
		return File{}, false, err
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return File{}, open, ErrFormat
	}
	if f.Token == "" {
		return f, open, ErrNoToken
	}
	return f, open, nil
}

// Write replaces the file at path, and makes its folder if it is missing. Only
// the owner can read the file, from its first byte on. A crash leaves either the
// old file or the new one.
func Write(path string, f File) error {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return Replace(path, append(data, '\n'))
}

// WriteToken replaces the file at path by a token that stands alone, as Write does.
func WriteToken(path, token string) error { return Replace(path, []byte(token+"\n")) }

// Replace replaces the file at path, or the one that a link there leads to, as Write
// does. A file of somebody else, which root replaces, stays theirs.
func Replace(path string, data []byte) error {
	return Edit(path, func([]byte) ([]byte, error) { return data, nil })
}

// Edit is Replace with what edit makes of the file; old is nil if there is no file. No
// other Edit or Replace of the file comes between. When edit returns nil the file stays.
func Edit(path string, edit func(old []byte) ([]byte, error)) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	release, err := datadir.Hold(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer release()
	old, _, err := ReadSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		old, err = nil, nil
	}
	if err != nil {
		return err
	}
	data, err := edit(old)
	if err != nil || data == nil {
		return err
	}
	before, statErr := os.Stat(path)
	if err := datadir.WriteFile(path, data); err != nil || statErr != nil {
		return err
	}
	if owner, ok := before.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && owner.Uid != 0 {
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	}
	return nil
}

// ReadSecret reads a small file. open says that others than its owner may read it.
func ReadSecret(path string) (data []byte, open bool, err error) { return readSecret(nil, path) }

func readSecret(owners datadir.Owners, path string) (data []byte, open bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if owners != nil {
		if err := owners.CheckInfo(path, info); err != nil {
			return nil, false, err
		}
	}
	data, err = ReadSmall(f)
	return data, info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0, err
}

// ReadSmall reads a stream of at most MaxSize bytes; a longer one is an error.
func ReadSmall(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err == nil && len(data) > MaxSize {
		err = fmt.Errorf("holds more than %d bytes", MaxSize)
	}
	return data, err
}
