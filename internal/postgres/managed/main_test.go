package managed_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/testdb"
)

// agentDir makes the test binary an agent with a managed server in that
// folder, which a test can kill.
const agentDir = "PICLOUD_TEST_AGENT_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(agentDir); dir != "" {
		agent(dir)
		return
	}
	testdb.Main(cleaning{m})
}

// cleaning runs the tests and removes the template.
type cleaning struct{ *testing.M }

func (c cleaning) Run() int {
	defer func() {
		if template.remove != nil {
			template.remove()
		}
	}()
	return c.M.Run()
}

// agent runs a server until it is killed.
func agent(dir string) {
	server, err := managed.New(managed.Options{DataDir: dir, NoSync: true})
	if err == nil {
		err = server.Start(context.Background())
	}
	fmt.Fprintln(os.Stdout, "started", server.PID(), err)
	select {}
}

// startAgent runs the test binary as an agent; its server answers when the
// returned channel gives the server's process.
func startAgent(t *testing.T, dir string) (*exec.Cmd, <-chan int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), agentDir+"="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { kill(cmd) })
	started := make(chan int, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		line, _ := bufio.NewReader(out).ReadString('\n')
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[2] == "<nil>" {
			pid, _ := strconv.Atoi(fields[1])
			started <- pid
		}
		close(started)
	}()
	t.Cleanup(func() { <-done })
	return cmd, started
}

func kill(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// template is a data folder that was initialized once, to copy from.
var template struct {
	sync.Once
	dir    string
	remove func()
}

// dataDir makes a data folder with a database in it that was shut down.
func dataDir(t *testing.T) string {
	t.Helper()
	template.Do(func() {
		dir, remove, err := testdb.MakeDir()
		require.NoError(t, err)
		template.dir, template.remove = dir, remove
		s := newServer(t, managed.Options{DataDir: dir})
		start(t, s)
		stop(t, s)
	})
	dir := testdb.Dir(t)
	out, err := exec.Command("cp", "-a", filepath.Join(template.dir, "postgres"), dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

func newServer(t testing.TB, o managed.Options) *managed.Server {
	t.Helper()
	o.NoSync = true
	s, err := managed.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t testing.TB, s *managed.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
}

// start starts a server, with what its log says when it fails.
func start(t testing.TB, s *managed.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, s.Start(ctx))
}

func query(t testing.TB, s *managed.Server, sql string) (out string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), s.DSN())
	require.NoError(t, err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(context.Background(), sql)
	require.NoError(t, err)
	for rows.Next() {
		require.NoError(t, rows.Scan(&out))
	}
	require.NoError(t, rows.Err())
	return out
}

func alive(pid int) bool {
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(state), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// account returns uid and gid of the account that servers get in tests.
func account(t *testing.T) (uid, gid int) {
	t.Helper()
	if os.Getuid() != 0 {
		return os.Getuid(), os.Getgid()
	}
	u, err := user.Lookup("postgres")
	require.NoError(t, err)
	uid, err = strconv.Atoi(u.Uid)
	require.NoError(t, err)
	gid, err = strconv.Atoi(u.Gid)
	require.NoError(t, err)
	return uid, gid
}

// sleeper runs some process of the server's account.
func sleeper(t *testing.T) int {
	t.Helper()
	uid, gid := account(t)
	cmd := exec.Command("/bin/sleep", "300")
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { kill(cmd) })
	return cmd.Process.Pid
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
}
