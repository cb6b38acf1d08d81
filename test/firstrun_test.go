package test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const hello = `function handle(req) {
  let who = req.query.name ?? "world"
  return {hello: who}
}
`

// nobody is an ordinary user.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}

// TestTranscript is the README's first screen.
func TestTranscript(t *testing.T) {
	users := map[string]*syscall.Credential{"as whoever runs the tests": nil}
	if os.Geteuid() == 0 {
		users["as a normal user"] = nobody
	}
	for name, as := range users {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			if n.as = as; as != nil {
				require.NoError(t, os.Chown(n.dir, int(as.Uid), int(as.Gid)))
			}
			n.start()
			n.await("the banner", 0x7fffffff, func() bool { return strings.Contains(n.output.String(), "to stop:") })
			// On a machine that is busy it says what it waits for, every 5 s.
			require.Regexp(t, `^(PiCloud node pi-1 waits: .*\n)*PiCloud node pi-1 ready in \d+\.\d s    functions http://localhost:\d+/fn/…    control http://localhost:\d+\n`+
				`database: managed PostgreSQL \d+(\.\d+)* in \./data/postgres          first-run admin token saved to \./data/credentials \(0600\)\n`+
				`memory:   agent \S+ \(GOMEMLIMIT.*\n`+
				`secrets:  sealed with \./data/cluster\.key; keep a copy of it elsewhere: without it nobody can read them\n`+
				`network:  this machine only, as bind says\n`+
				`to stop:  Ctrl-C, or picloud stop --data \./data\n$`, n.output.String())
			info, err := os.Stat(filepath.Join(n.data, "credentials"))
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			require.NoError(t, os.WriteFile(filepath.Join(n.dir, "hello.risor"), []byte(hello), 0o644))

			stdout, stderr, code := n.cli("deploy", "hello.risor")
			require.Zero(t, code, stderr)
			require.Regexp(t, `^hello v1 live on 1/1 nodes in \d+ ms → http://localhost:\d+/fn/default/hello\n$`, stdout)
			status, body, err := n.get(n.functions + "/fn/default/hello?name=Ada")
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, status)
			require.JSONEq(t, `{"hello":"Ada"}`, body)
		})
	}
}

// TestPicloudServesAlone: without picloud-executor beside it, picloud runs
// functions itself.
func TestPicloudServesAlone(t *testing.T) {
	n := newNode(t)
	n.binaries = n.dir
	program, err := os.ReadFile(filepath.Join(binaries, "picloud"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(n.dir, "picloud"), program, 0o755))
	n.start()
	n.deploy("hello", hello)
	status, body := n.call("hello")
	require.Equal(t, http.StatusOK, status, body)
	require.Len(t, n.workers(), 1)
}

// TestSeveralNodesShareAMachine starts two, each with its folder and ports.
func TestSeveralNodesShareAMachine(t *testing.T) {
	a, b := newNode(t).start(), newNode(t).start()
	a.deploy("who", `function handle(req) { return "a" }`)
	b.deploy("who", `function handle(req) { return "b" }`)
	_, body := a.call("who")
	require.Equal(t, "a", body)
	_, body = b.call("who")
	require.Equal(t, "b", body)
}

// TestWhatKeepsANodeFromStarting pins the errors that a person meets first.
func TestWhatKeepsANodeFromStarting(t *testing.T) {
	fails := func(t *testing.T, n *node, want ...string) {
		t.Helper()
		n.await("the node to give up", 60e9, func() bool {
			select {
			case <-n.exited:
				return true
			default:
				return false
			}
		})
		require.NotZero(t, n.cmd.ProcessState.ExitCode(), n.output.String())
		for _, w := range want {
			require.Contains(t, n.output.String(), w)
		}
		require.NotContains(t, n.output.String(), "goroutine ", "no stack traces")
		n.cmd = nil
	}
	t.Run("port taken", func(t *testing.T) {
		n := newNode(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		n.launch("--http-port", fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
		fails(t, n, "address already in use", "--http-port", "PICLOUD_HTTP_PORT")
	})
	t.Run("second node on the same data", func(t *testing.T) {
		n := newNode(t).start()
		second := newNode(t)
		second.env = append(second.env, "PICLOUD_DATA="+n.data)
		second.launch()
		fails(t, second, n.data, fmt.Sprint(n.cmd.Process.Pid), "PICLOUD_DATA")
		status, _, err := n.get(n.control + "/readyz")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status, "the first node is unharmed")
	})
	t.Run("data folder not writable", func(t *testing.T) {
		n := newNode(t)
		n.env = append(n.env, "PICLOUD_DATA=/proc/picloud")
		n.launch()
		fails(t, n, "/proc/picloud", "PICLOUD_DATA")
	})
	t.Run("data folder not reachable by the database's user", func(t *testing.T) {
		if os.Geteuid() != 0 {
			return // a normal user's database runs as that user
		}
		n := newNode(t)
		closed := filepath.Join(n.dir, "closed")
		require.NoError(t, os.MkdirAll(closed, 0o700))
		n.env = append(n.env, "PICLOUD_DATA="+filepath.Join(closed, "data"))
		n.launch()
		fails(t, n, closed, "PICLOUD_DATA=/var/lib/picloud")
	})
	t.Run("no PostgreSQL", func(t *testing.T) {
		n := newNode(t)
		n.env = append(n.env, "PATH=/nonexistent", "PICLOUD_POSTGRES_BIN=/nonexistent")
		n.launch()
		fails(t, n, "apt-get install -y postgresql")
	})
	t.Run("bad name", func(t *testing.T) {
		n := newNode(t)
		n.launch("--node-name", "My Node")
		fails(t, n, "My Node", "lower-case")
	})
	t.Run("bad port", func(t *testing.T) {
		n := newNode(t)
		n.launch("--http-port", "abc")
		fails(t, n, "read --http-port", `"abc" is not a port`)
		require.NotContains(t, n.output.String(), "PICLOUD_HTTP_PORT")
	})
	t.Run("bad DSN", func(t *testing.T) {
		n := newNode(t)
		n.env = append(n.env, "PICLOUD_DATABASE_URL=postgres://me:s3cret@:::bad/%zz")
		n.launch()
		fails(t, n, "PICLOUD_DATABASE_URL")
		require.NotContains(t, n.output.String(), "s3cret")
	})
}

// TestReloadCommand reads a Caddyfile again, and keeps the old one when the new
// one is wrong.
func TestReloadCommand(t *testing.T) {
	n := newNode(t)
	config, stderr, code := n.cli("config", "show")
	require.Zero(t, code, stderr)
	caddyfile := filepath.Join(n.dir, "Caddyfile")
	require.NoError(t, os.WriteFile(caddyfile, []byte(config), 0o644))
	_, stderr, code = n.cli("reload")
	require.NotZero(t, code)
	require.Contains(t, stderr, "no node runs on the data folder")

	n.start()
	n.deploy("hello", hello)
	status, _, err := n.get(n.functions + "/ping")
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, status)

	changed := strings.Replace(config, "\tpicloud\n}", "\tpicloud\n\trespond /ping \"pong\"\n}", 1)
	require.NotEqual(t, config, changed)
	require.NoError(t, os.WriteFile(caddyfile, []byte(changed), 0o644))
	stdout, stderr, code := n.cli("reload")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "reloaded")
	_, body, err := n.get(n.functions + "/ping")
	require.NoError(t, err)
	require.Equal(t, "pong", body)

	require.NoError(t, os.WriteFile(caddyfile, []byte(changed+"\nnonsense {"), 0o644))
	_, stderr, code = n.cli("reload")
	require.NotZero(t, code)
	require.Contains(t, stderr, "the configuration that ran before stays in use")
	_, body, err = n.get(n.functions + "/ping")
	require.NoError(t, err)
	require.Equal(t, "pong", body)
	status, body = n.call("hello")
	require.Equal(t, http.StatusOK, status, body)
}
