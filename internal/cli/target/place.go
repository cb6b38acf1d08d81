package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/credentials"
	"github.com/picloud/picloud/internal/datadir"
)

// place may hold credentials: a file of a node, or a context of `picloud login`.
type place struct {
	path    string
	context string // the context's name; empty: it is no context
	err     error  // nil: it was read
	credentials.File
	open bool // others may read it
}

// name returns the place for messages.
func (p place) name() string {
	if p.context == "" {
		return p.path
	}
	return p.path + " (context " + p.context + ")"
}

// places reads every place that may hold credentials, in the order they count: the
// data folder that the environment names, the logins, then the data folders that
// nodes of this machine use when nothing names one.
func (f *Finder) places() []place {
	var found []place
	seen := map[string]bool{}
	addData := func(dir string, owners datadir.Owners) {
		path := credentials.Path(dir)
		if file := realPath(path); !seen[file] {
			seen[file] = true
			found = append(found, readPlace(path, dir, owners))
		}
	}
	if dir := f.Getenv("PICLOUD_DATA"); dir != "" {
		addData(dir, nil)
	}
	found = append(found, f.loginPlaces()...)
	for _, dir := range f.dataFolders() {
		addData(dir, f.believed(dir))
	}
	return found
}

// believed are the owners that a data folder which nobody has named may have. Nil stands
// for everybody: only root can have made the folder of the service.
func (f *Finder) believed(dir string) datadir.Owners {
	if dir == f.Service {
		return nil
	}
	if f.owners != nil { // of a test
		return f.owners
	}
	return datadir.Believed(f.Getenv)
}

// realPath returns the absolute path of a file without symbolic links. Where it cannot
// resolve them, it returns the path as it is.
func realPath(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return path
}

// readPlace reads the credentials in a data folder. The folder and the file must belong
// to one of owners; nil stands for everybody.
func readPlace(path, dir string, owners datadir.Owners) place {
	p := place{path: path}
	if owners != nil {
		p.err = owners.Check(dir)
	}
	if p.err == nil {
		p.File, p.open, p.err = credentials.ReadOf(owners, path)
	}
	if foreign := (*datadir.Foreign)(nil); errors.As(p.err, &foreign) {
		foreign.Hint = "PICLOUD_DATA=" + datadir.Quote(dir) + " uses it all the same"
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			p.err = err // there is nothing to believe
		}
	}
	return p
}

// Why the file of `picloud login` gives no credentials.
var (
	errNoContext = errors.New("no context is in use; choose one with: picloud context use NAME")
	errNoLogin   = errors.New("no login is saved in it")
)

// loginPlaces are the contexts of `picloud login`, the current one first. The others
// count only for the server that a command names.
func (f *Finder) loginPlaces() []place {
	logins, open, err := f.Logins()
	if err != nil {
		return []place{{path: f.ConfigPath(), err: err}}
	}
	var found []place
	for _, c := range logins.ordered() {
		if c.Name == logins.Current || f.serverIsNamed() {
			found = append(found, place{path: f.ConfigPath(), context: c.Name, File: c.File, open: open})
		}
	}
	switch {
	case len(found) > 0:
		return found
	case len(logins.Contexts) > 0:
		return []place{{path: f.ConfigPath(), err: errNoContext}}
	}
	if _, err := os.Lstat(f.ConfigPath()); err == nil {
		return []place{{path: f.ConfigPath(), err: errNoLogin}}
	}
	return []place{{path: f.ConfigPath(), err: fs.ErrNotExist}}
}

// dataFolders lists the folders that nodes of this machine use for their data when no
// setting names one.
func (f *Finder) dataFolders() []string {
	folders := []string{"data"}
	if dir := datadir.User(f.Getenv); dir != "" {
		folders = append(folders, dir)
	}
	return append(folders, f.Service)
}

// DataFolders lists the folders that may be the data folder of a node on this machine:
// only the one that PICLOUD_DATA names or, without it, the default ones. Those of
// strangers are in refused instead.
func (f *Finder) DataFolders() (folders []string, refused []error) {
	if dir := f.Getenv("PICLOUD_DATA"); dir != "" {
		return []string{dir}, nil
	}
	for _, dir := range f.dataFolders() {
		owners := f.believed(dir)
		if owners == nil {
			folders = append(folders, dir)
		} else if err := owners.Check(dir); err != nil {
			refused = append(refused, err)
		} else {
			folders = append(folders, dir)
		}
	}
	return folders, refused
}

// tokenFile is the content of a file that --token-file names.
type tokenFile struct {
	credentials.File
	alone bool // the file holds a token and nothing else
}

// ReadToken reads a token that stands alone, in a credentials file, or in the
// current context of a file of logins.
func (f *Finder) ReadToken(path string) (string, error) {
	file, err := f.readTokenFile(path)
	return file.Token, err
}

func (f *Finder) readTokenFile(path string) (file tokenFile, err error) {
	var data []byte
	var open bool
	if path == "-" {
		data, err = credentials.ReadSmall(f.Stdin)
	} else {
		data, open, err = credentials.ReadSecret(path)
	}
	if err != nil {
		return file, fmt.Errorf("read token: %w", err)
	}
	if open {
		f.warnOpen(path)
	}
	text := strings.TrimSpace(string(data))
	if strings.HasPrefix(text, "{") {
		logins, err := parseLogins([]byte(text))
		if c := logins.Find(logins.Current); err == nil && c != nil {
			file.File = c.File
		}
	} else {
		file.alone, file.Token = true, text
	}
	if file.Token == "" || strings.ContainsAny(file.Token, " \t\r\n") {
		return tokenFile{}, fmt.Errorf("read token: %s does not hold a token", failure.StreamName(path))
	}
	return file, nil
}

func (f *Finder) warnOpen(path string) {
	f.Warnf("others can read the token in %s; mend it with: chmod 600 %s", path, path)
}

// reason says why a place gave no credentials.
func (p place) reason() string {
	foreign := (*datadir.Foreign)(nil)
	switch {
	case errors.As(p.err, &foreign):
		return foreign.Detail() + "; " + foreign.Hint
	case errors.Is(p.err, fs.ErrNotExist):
		return "not there"
	case errors.Is(p.err, fs.ErrPermission):
		return "permission denied"
	default:
		return p.err.Error()
	}
}

// Renew writes a new token into every file that holds the old one, which has ended:
// the file that the command took it from, and the others of places. It returns the
// files that it wrote.
func (f *Finder) Renew(old, token string) (written []string, err error) {
	var problems []error
	note := func(path string, err error) {
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("save token in %s: %w", path, err))
		case !slices.Contains(written, path):
			written = append(written, path)
		}
	}
	if path := f.TokenFile; path != "" && path != "-" {
		file, err := f.readTokenFile(path)
		switch {
		case err != nil || file.Token != old:
		case file.alone:
			note(path, credentials.WriteToken(path, token))
		case realPath(path) != realPath(f.ConfigPath()): // that is renewed below
			note(path, renewFile(path, old, token))
		}
	}
	if renewed, err := f.renewLogins(token, func(c Context) bool { return c.Token == old }); renewed || err != nil {
		note(f.ConfigPath(), err)
	}
	for _, p := range f.places() {
		if p.err == nil && p.context == "" && p.Token == old {
			note(p.path, renewFile(p.path, old, token))
		}
	}
	return written, errors.Join(problems...)
}

// renewFile replaces the token in a JSON file, and keeps all else that it holds.
func renewFile(path, old, token string) error {
	return credentials.Edit(path, func(data []byte) ([]byte, error) {
		var file map[string]json.RawMessage
		var held string
		if json.Unmarshal(data, &file) != nil || json.Unmarshal(file["token"], &held) != nil || held != old {
			return nil, errors.New("it does not hold the old token")
		}
		var err error
		if file["token"], err = json.Marshal(token); err != nil {
			return nil, err
		}
		data, err = json.MarshalIndent(file, "", "  ")
		return append(data, '\n'), err
	})
}
