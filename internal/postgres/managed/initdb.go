package managed

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
)

// initPrefix begins the names of folders in which initdb works. The finished
// one is renamed; the others are what a crash left.
const initPrefix = "postgres.init-"

// removeLeftovers deletes what interrupted initializations left. The agent holds the
// folder's lock. Only an initdb whose agent was killed can still run then. It fails
// without its folder, but may create files there for a moment.
func (s *Server) removeLeftovers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found, _ := filepath.Glob(filepath.Join(glob(s.o.DataDir), initPrefix+"*")) // the pattern is well-formed
	for _, dir := range found {
		for {
			err := os.RemoveAll(dir)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return diskError("remove unfinished database folder", dir, err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// glob quotes what filepath.Glob would take for a pattern.
func glob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// initialize makes the server's data in a folder of its own and renames it:
// the data is there as a whole or not at all.
func (s *Server) initialize(ctx context.Context) error {
	began := time.Now()
	dir, err := os.MkdirTemp(s.o.DataDir, initPrefix)
	if err != nil {
		return diskError("make database folder", s.o.DataDir, err)
	}
	defer os.RemoveAll(dir) // nothing is left of it once it was renamed
	if err := s.account.own(dir); err != nil {
		return diskError("make database folder", dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	args := []string{"-D", dir, "-U", role, "--auth=peer", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"}
	if s.o.NoSync {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, s.bin.initdb(), args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), s.account.attr()
	cmd.WaitDelay = 5 * time.Second
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // and what it started
	if out, err := cmd.CombinedOutput(); err != nil {
		return &picloud.Error{
			Code: picloud.CodeDatabaseDown, Op: "initialize managed PostgreSQL", Resource: s.data,
			Detail: "initdb said: " + lastLines(string(out)), Hint: hintFor(string(out)), Err: err,
		}
	}
	if err := s.configure(dir); err != nil {
		return err
	}
	if err := os.Remove(s.data); err != nil && !os.IsNotExist(err) { // an empty folder at most
		return diskError("make database folder", s.data, err)
	}
	if err := os.Rename(dir, s.data); err != nil {
		return diskError("make database folder", s.data, err)
	}
	if err := datadir.SyncDir(s.o.DataDir); err != nil {
		return diskError("make database folder", s.data, err)
	}
	s.log.InfoContext(ctx, "managed PostgreSQL initialized", slog.Duration("took", time.Since(began).Round(time.Millisecond)))
	return nil
}

// lost says that the data is missing, and where an older one lies.
func (s *Server) lost() error {
	e := &picloud.Error{
		Code: picloud.CodeDatabaseDown, Op: "start managed PostgreSQL", Resource: s.data,
		Detail: "the folder with the cluster's database is missing or empty, and a new one would have nothing of what is in it",
		Hint:   "bring the folder back, or make it of a dump: `picloud database restore`",
	}
	found, _ := filepath.Glob(filepath.Join(glob(s.o.DataDir), "postgres.aside-*")) // the pattern is well-formed
	if len(found) > 0 {                                                             // the names have the time
		e.Hint = "repeat `picloud database restore` if it was cut short; " + found[len(found)-1] + " is the database before it"
	}
	return e
}

// hintFor finds advice for what PostgreSQL's programs complain about.
func hintFor(said string) string {
	switch {
	case strings.Contains(said, "No space left on device"), strings.Contains(said, "Disk quota exceeded"):
		return "free some disk space"
	case strings.Contains(said, "Permission denied"), strings.Contains(said, "Read-only file system"):
		return "make the data folder writable, or choose another with PICLOUD_DATA"
	case strings.Contains(said, "not enough memory"), strings.Contains(said, "could not map anonymous shared memory"):
		return "free some memory"
	}
	return "see postgres.log in the data folder"
}
