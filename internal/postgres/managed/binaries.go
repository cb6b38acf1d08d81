package managed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

// oldest is the first PostgreSQL version that the schema works with.
const oldest = 15

// binaries is a folder with initdb and postgres.
type binaries struct {
	dir     string
	major   int
	version string
}

func (b binaries) postgres() string { return filepath.Join(b.dir, "postgres") }
func (b binaries) initdb() string   { return filepath.Join(b.dir, "initdb") }

// Major is the major version of a PostgreSQL version such as "15.18"; 0 if it is none.
func Major(version string) int {
	digits, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// places are where packages put the binaries; distributions keep them out of
// PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/pgsql-*/bin",          // PostgreSQL's own RPMs
	"/usr/libexec/postgresql*",  // Alpine
	"/usr/local/pgsql/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/opt/homebrew/bin",
	"/usr/local/bin",
}

// findBinaries returns the newest binaries from version 15 on, or those of the
// version that made the data when major is not 0: a data folder works with its
// own major version only.
func findBinaries(ctx context.Context, dir string, major int) (binaries, error) {
	dirs := []string{dir}
	if dir == "" {
		dirs = candidates(ctx)
	}
	var best binaries
	var others []string
	for _, d := range dirs {
		b, err := inspect(ctx, d)
		switch {
		case err != nil:
		case b.major < oldest, major != 0 && b.major != major:
			others = append(others, b.version)
		case b.major > best.major:
			best = b
		}
	}
	if best.major > 0 {
		return best, nil
	}
	return binaries{}, missing(major, others)
}

// missing says what to install.
func missing(major int, others []string) error {
	e := &picloud.Error{
		Code: picloud.CodeDatabaseDown, Op: "find PostgreSQL",
		Detail: fmt.Sprintf("no PostgreSQL server binaries of version %d or newer on this machine", oldest),
		Hint:   installCommand("") + ", or set PICLOUD_DATABASE_URL to a server you run",
	}
	if major != 0 {
		e.Detail = fmt.Sprintf("the data folder was made by PostgreSQL %d, whose binaries are not on this machine", major)
		e.Hint = installCommand(strconv.Itoa(major))
	}
	if len(others) > 0 {
		e.Detail += "; found " + strings.Join(others, ", ")
	}
	return e
}

func installCommand(major string) string {
	if runtime.GOOS == "darwin" {
		if major == "" {
			major = "17"
		}
		return "install it: brew install postgresql@" + major
	}
	name := "postgresql"
	if major != "" {
		name += "-" + major
	}
	return "install it: sudo apt-get install -y " + name
}

// candidates lists the folders to look at, without duplicates.
func candidates(ctx context.Context) []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, pattern := range places {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		dirs = append(dirs, found...)
	}
	if path, err := exec.LookPath("pg_config"); err == nil {
		if out, err := output(ctx, path, "--bindir"); err == nil {
			dirs = append(dirs, out)
		}
	}
	seen := make(map[string]bool)
	var out []string
	for _, d := range dirs {
		real, err := filepath.EvalSymlinks(d)
		if err == nil && !seen[real] {
			seen[real] = true
			out = append(out, real)
		}
	}
	return out
}

var versionText = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// inspect asks the binaries of a folder for their version.
func inspect(ctx context.Context, dir string) (binaries, error) {
	b := binaries{dir: dir}
	if _, err := os.Stat(b.initdb()); err != nil {
		return b, err
	}
	out, err := output(ctx, b.postgres(), "--version")
	if err != nil {
		return b, err
	}
	m := versionText.FindStringSubmatch(out)
	if m == nil {
		return b, fmt.Errorf("read version of %q: %q", b.postgres(), picloud.Shorten(out, 80))
	}
	b.version = m[1]
	b.major, err = strconv.Atoi(m[2])
	return b, err
}

func output(ctx context.Context, path string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	return string(bytes.TrimSpace(out)), err
}

// dataMajor returns the version that made a data folder, 0 when there is none.
func dataMajor(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if os.IsNotExist(err) {
		entries, err := os.ReadDir(data)
		if err != nil && !os.IsNotExist(err) || len(entries) > 0 {
			return 0, diskError("look at database folder", data, errors.New("it is neither empty nor a database of PostgreSQL"))
		}
		return 0, nil
	}
	if err != nil {
		return 0, diskError("look at database folder", data, err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, diskError("look at database folder", data, errors.New("PG_VERSION does not hold a number"))
	}
	return major, nil
}

// Found is where the binaries of a managed server are.
type Found struct {
	Dir     string
	Version string // such as "15.18"
}

// Find returns the binaries that a managed server would run: those in dir, or
// when it is empty the newest on this machine. The error says what to install.
func Find(ctx context.Context, dir string) (Found, error) {
	b, err := findBinaries(ctx, dir, 0)
	return Found{b.dir, b.version}, err
}
