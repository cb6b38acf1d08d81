package managed

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// maxSaid bounds what is kept of the messages of PostgreSQL's programs, in bytes.
const maxSaid = 8 << 10

// Connect opens a connection to the database as its owner. The server must run. The caller
// closes it.
func (s *Server) Connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := s.connect(ctx, database)
	if err != nil {
		return nil, fmt.Errorf("connect to managed PostgreSQL: %w", err)
	}
	return conn, nil
}

// Run runs one of PostgreSQL's programs that work on the database, such as pg_dump, under
// the account of the server. The program gets args and how to reach the database. It ends,
// with what it started, when ctx does. An error has the program's last words.
func (s *Server) Run(ctx context.Context, program string, in io.Reader, out io.Writer, args ...string) error {
	s.mu.Lock()
	bin := s.bin
	s.mu.Unlock()
	path, err := bin.tool(ctx, program)
	if err != nil {
		return err
	}
	said, taken := &lastWords{}, &sink{to: out}
	cmd := exec.CommandContext(ctx, path, append([]string{"--host=" + s.run, "--port=" + port, "--username=" + role, "--no-password"}, args...)...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), s.account.attr()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, taken, said
	cmd.WaitDelay = 5 * time.Second
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // and what it started
	err = cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("run %s: %w", program, context.Cause(ctx))
	}
	if taken.err != nil { // that ended it
		return fmt.Errorf("run %s: take what it writes: %w", program, taken.err)
	}
	return &picloud.Error{
		Code: picloud.CodeDatabaseDown, Op: "run " + program, Detail: "it said: " + lastLines(said.String()), Err: err, Hint: hintFor(said.String()),
	}
}

// tool finds a client program of the server's version. Some systems keep the two apart.
func (b binaries) tool(ctx context.Context, program string) (string, error) {
	for _, dir := range append([]string{b.dir}, candidates(ctx)...) {
		path := filepath.Join(dir, program)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		said, err := output(ctx, path, "--version")
		if m := versionText.FindStringSubmatch(said); err == nil && m != nil && Major(m[1]) == b.major {
			return path, nil
		}
	}
	return "", &picloud.Error{
		Code: picloud.CodeDatabaseDown, Op: "find " + program, Detail: fmt.Sprintf("this machine has PostgreSQL %d without its client programs", b.major),
		Hint: "install them: sudo apt-get install -y postgresql-client-" + strconv.Itoa(b.major),
	}
}

// sink remembers why what a program wrote could not be taken.
type sink struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// lastWords keeps the end of what a program says.
type lastWords struct{ bytes.Buffer }

// Write implements io.Writer.
func (w *lastWords) Write(p []byte) (int, error) {
	n := len(p)
	if over := n - maxSaid; over > 0 {
		p = p[over:]
	}
	if over := w.Len() + len(p) - maxSaid; over > 0 {
		w.Next(over)
	}
	w.Buffer.Write(p)
	return n, nil
}
