package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/testdb"
)

// TestStatusAndStop is the day of an operator: is it there, what is it, end it.
func TestStatusAndStop(t *testing.T) {
	n := newNode(t)
	for _, command := range []string{"status", "stop"} {
		_, stderr, code := n.cli(command)
		require.Equal(t, 3, code, command)
		require.Contains(t, stderr, "no node runs on the data folder "+n.data)
	}
	stdout, _, code := n.cli("status", "-o", "json")
	require.Equal(t, 3, code)
	require.Contains(t, stdout, `"running": false`)

	n.start()
	n.deploy("hello", hello)
	var status struct {
		Running                              bool
		State, Node, Data, Version, Database string
		PID, Functions                       int
		Revision                             int64
		StartedAt                            time.Time `json:"started_at"`
		FunctionsURL                         string    `json:"functions_url"`
		ControlURL                           string    `json:"control_url"`
		Listens                              []string
	}
	n.await("the database", time.Minute, func() bool {
		stdout, stderr, code := n.cli("status", "-o", "json")
		require.Zero(t, code, stderr)
		require.NoError(t, json.Unmarshal([]byte(stdout), &status))
		return status.State == "ready"
	})
	require.True(t, status.Running)
	require.Equal(t, n.cmd.Process.Pid, status.PID)
	require.Equal(t, "pi-1", status.Node)
	require.Equal(t, n.data, status.Data)
	require.Equal(t, 1, status.Functions)
	require.Positive(t, status.Revision)
	require.WithinDuration(t, time.Now(), status.StartedAt, 2*time.Minute)
	require.Contains(t, status.Database, "managed PostgreSQL")
	require.Equal(t, port(n.functions), port(status.FunctionsURL))
	require.Equal(t, port(n.control), port(status.ControlURL))
	require.Len(t, status.Listens, 3)
	stdout, _, code = n.cli("status")
	require.Zero(t, code)
	require.Contains(t, stdout, fmt.Sprintf("process    %d\n", status.PID))
	info, err := os.Stat(filepath.Join(n.data, "run", "node.sock"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	// From elsewhere, without the environment.
	postgres, elsewhere := n.postgresPID(), newNode(t)
	elsewhere.env = append(elsewhere.env, "PICLOUD_DATA=")
	stdout, stderr, code := elsewhere.cli("stop", "--data", n.data)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, fmt.Sprintf("(process %d) has stopped", status.PID))
	require.Error(t, syscall.Kill(postgres, 0), "the database server has ended")
	<-n.exited
	require.Zero(t, n.cmd.ProcessState.ExitCode())
	said := n.output.String()
	require.Contains(t, said, "PiCloud node pi-1 stops (picloud stop): calls that run have 10s to end\nPiCloud node pi-1 stopped after ")
	require.NotContains(t, said, "byeee")
	require.NotContains(t, said, `"ts"`, "no JSON on a pipe")
	n.cmd = nil
}

func port(url string) string { return url[strings.LastIndexByte(url, ':')+1:] }

// TestStopWithoutAnAnswer: a node whose socket is gone is found by its lock.
func TestStopWithoutAnAnswer(t *testing.T) {
	n := newNode(t).start()
	require.NoError(t, os.Remove(filepath.Join(n.data, "run", "node.sock")))
	stdout, stderr, code := n.cli("status")
	require.Equal(t, 1, code)
	require.Contains(t, stdout, "silent", stderr)
	require.Contains(t, stdout, strconv.Itoa(n.cmd.Process.Pid))
	_, stderr, code = n.cli("stop")
	require.Zero(t, code, stderr)
	<-n.exited
	require.Zero(t, n.cmd.ProcessState.ExitCode())
	n.cmd = nil
}

// TestStopIsBounded: a node that cannot end is named with the way to end it.
func TestStopIsBounded(t *testing.T) {
	n := newNode(t).start()
	pid := n.cmd.Process.Pid
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	defer syscall.Kill(pid, syscall.SIGCONT)
	_, stderr, code := n.cli("stop", "--timeout", "100ms")
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "has not ended yet")
	require.Contains(t, stderr, fmt.Sprintf("kill -9 %d", pid))
}

// TestHangup: what the end of a terminal means depends on how the node was started.
func TestHangup(t *testing.T) {
	// Whoever runs the tests under nohup has SIGHUP ignored, and children inherit that.
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	defer signal.Stop(heard)
	closed := func(t *testing.T, before ...string) {
		n := newNode(t)
		master, slave := terminal(t)
		n.attr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
		n.stdin, n.before = slave, before
		n.start()
		postgres := n.postgresPID()
		require.NoError(t, slave.Close())
		require.NoError(t, master.Close())
		select {
		case <-n.exited:
		case <-time.After(30 * time.Second):
			t.Fatalf("the node outlives its terminal: %s", n.output)
		}
		require.Zero(t, n.cmd.ProcessState.ExitCode())
		require.Contains(t, n.output.String(), "stops (its terminal was closed)")
		require.Error(t, syscall.Kill(postgres, 0), "the database server has ended")
		n.cmd = nil
	}
	t.Run("from a terminal that is closed", func(t *testing.T) { closed(t) })
	// The kernel signals the terminal's first process, and make waits for its children.
	t.Run("by a program that passes no signal on", func(t *testing.T) {
		closed(t, "sh", "-c", `trap : HUP; "$@" & while kill -0 $! 2>/dev/null; do wait $!; done`, "sh")
	})
	t.Run("without one it reads its configuration again", func(t *testing.T) {
		n := newNode(t)
		n.attr = &syscall.SysProcAttr{Setsid: true}
		n.start()
		require.NoError(t, n.cmd.Process.Signal(syscall.SIGHUP))
		n.await("the reload", 30*time.Second, func() bool {
			return strings.Contains(n.output.String(), "read its configuration again (SIGHUP)")
		})
		status, _, err := n.get(n.control + "/readyz")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
	})
	t.Run("under nohup it goes on", func(t *testing.T) {
		n := newNode(t)
		master, slave := terminal(t)
		defer master.Close()
		n.attr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
		n.stdin = slave
		n.before = []string{"nohup"}
		n.start()
		require.NoError(t, slave.Close())
		require.NoError(t, n.cmd.Process.Signal(syscall.SIGHUP))
		stdout, _, code := n.cli("status") // the node has handled what came before
		require.Zero(t, code, stdout)
		n.stop()
		require.NotContains(t, n.output.String(), "terminal was closed")
		require.Contains(t, n.output.String(), "stops (SIGTERM)")
	})
}

// terminal makes a pseudo-terminal.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	return master, slave
}

// TestAReaderThatLeftEndsNoNode: `picloud run | head -1`.
func TestAReaderThatLeftEndsNoNode(t *testing.T) {
	n := newNode(t)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	n.stdout = write
	n.start()
	require.NoError(t, write.Close())
	require.NoError(t, read.Close())
	n.cli("reload") // the node says something, to nobody
	status, _, err := n.get(n.control + "/readyz")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	_, stderr, code := n.cli("stop")
	require.Zero(t, code, stderr)
	<-n.exited
	require.Zero(t, n.cmd.ProcessState.ExitCode())
	n.cmd = nil
}

// TestDataOfACaddyfileWithSites: lock, sockets, certificates and the commands follow
// the folder that the file names (B13).
func TestDataOfACaddyfileWithSites(t *testing.T) {
	caddyfile := func(n *node) string {
		return fmt.Sprintf(`{
	picloud {
		data "%s"
		node_name pi-%s
		http_port %s
		admin_port %s
	}
}
http://:%[3]s {
	bind 127.0.0.1
	picloud
}
http://:%[4]s {
	bind 127.0.0.1
	picloud_manager
}
https://localhost:%[5]s {
	bind 127.0.0.1
	tls internal
	picloud
}
`, n.data, port(n.functions), port(n.functions), port(n.control), n.value("PICLOUD_HTTPS_PORT"))
	}
	start := func() *node {
		n := newNode(t)
		n.env = append(n.env, "PICLOUD_DATA=", "PICLOUD_NODE_NAME=", "PICLOUD_HTTP_PORT=", "PICLOUD_ADMIN_PORT=", "PICLOUD_BIND=")
		n.data = filepath.Join(n.dir, "other place")
		require.NoError(t, os.WriteFile(filepath.Join(n.dir, "Caddyfile"), []byte(caddyfile(n)), 0o644))
		return n.start()
	}
	a := start()
	b := start() // (1) it does not meet the first one's lock
	a.deploy("who", `function handle(req) { return "a" }`)
	b.deploy("who", `function handle(req) { return "b" }`)
	_, body := a.call("who")
	require.Equal(t, "a", body)
	_, body = b.call("who")
	require.Equal(t, "b", body)

	// (2) The commands find each by its Caddyfile, and by its folder.
	for _, n := range []*node{a, b} {
		for _, args := range [][]string{{}, {"--data", n.data}, {"--config", filepath.Join(n.dir, "Caddyfile")}} {
			stdout, stderr, code := n.cli(append([]string{"status"}, args...)...)
			require.Zero(t, code, stderr)
			require.Contains(t, stdout, fmt.Sprintf("process    %d\n", n.cmd.Process.Pid), args)
			_, stderr, code = n.cli(append([]string{"reload"}, args...)...)
			require.Zero(t, code, stderr)
		}
		stdout, _, _ := n.cli("doctor")
		require.Contains(t, stdout, n.data+", a node runs on it")
	}
	a.env = append(a.env, "PICLOUD_DATA="+b.data)
	stdout, _, _ := a.cli("status")
	require.Contains(t, stdout, fmt.Sprintf("process    %d\n", b.cmd.Process.Pid), "the variable names the other one")
	a.env = append(a.env, "PICLOUD_DATA="+a.dir)
	_, stderr, code := a.cli("stop")
	require.Equal(t, 3, code)
	require.Contains(t, stderr, "no node runs on the data folder "+a.dir)
	require.Contains(t, stderr, "the Caddyfile here names another one: --data '"+a.data+"'")
	// A second start says which settings are not used, and who has the folder.
	stdout, _, _ = a.cli("doctor")
	require.Contains(t, stdout, "it sets data, so PICLOUD_DATA and --data are not used")
	_, stderr, code = a.cli("run")
	require.NotZero(t, code)
	require.Contains(t, stderr, fmt.Sprintf("it is in use by process %d", a.cmd.Process.Pid))
	require.Contains(t, stderr, "`picloud stop`")

	// (3) What Caddy keeps is there too, and nowhere else.
	for _, n := range []*node{a, b} {
		for _, path := range []string{"run/caddy.sock", "run/node.sock", "lock", "caddy/autosave.json"} {
			require.FileExists(t, filepath.Join(n.data, path))
		}
		n.await("the certificate", 30*time.Second, func() bool {
			_, err := os.Stat(filepath.Join(n.data, "caddy", "certificates", "local", "localhost", "localhost.crt"))
			return err == nil
		})
		require.NoDirExists(t, filepath.Join(n.dir, ".local"))
		require.NoDirExists(t, filepath.Join(n.dir, ".config"))
	}
}

// TestAnyTextIsAValue: what flags and variables hold arrives as it is, or is refused
// as it is; no part of a password is ever said.
func TestAnyTextIsAValue(t *testing.T) {
	for _, name := range []string{`my cloud {env.HOME} {$HOME} {}`, `a"b'c $HOME $(reboot) back\slash\`, "`tick` a,b;c#d|e&f", `-x %7B%zz Gärten 日本`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			n.data = filepath.Join(n.dir, name, "data")
			n.env = append(n.env, "PICLOUD_DATA="+n.data)
			n.start()
			n.deploy("hello", hello)
			status, body := n.call("hello")
			require.Equal(t, http.StatusOK, status, body)
			_, stderr, code := n.cli("reload")
			require.Zero(t, code, stderr)
			entries, err := os.ReadDir(n.dir)
			require.NoError(t, err)
			require.Len(t, entries, 1, "nothing lands elsewhere")
			_, stderr, code = n.cli("stop")
			require.Zero(t, code, stderr)
			require.FileExists(t, filepath.Join(n.data, "caddy", "instance.uuid"))

			// The same with the printed Caddyfile, whose text the values become a part of.
			config, stderr, code := n.cli("config", "show")
			require.Zero(t, code, stderr)
			require.NoError(t, os.WriteFile(filepath.Join(n.dir, "Caddyfile"), []byte(config), 0o644))
			<-n.exited
			n.start()
			n.awaitDatabase()
			status, body = n.call("hello")
			require.Equal(t, http.StatusOK, status, body)
			_, err = os.Stat(filepath.Join(datadir.RunPath(n.data), "caddy.sock"))
			require.NoError(t, err)
		})
	}
}

// TestAPasswordIsAValue: a DSN with a quote starts a node, from the environment, through
// the printed Caddyfile and written into one (B12).
func TestAPasswordIsAValue(t *testing.T) {
	server := testdb.Server(t)
	const password = `s"ecret PASS{env.HOME} \\$HOME`
	u, err := url.Parse(server.DSN())
	require.NoError(t, err)
	host, user := u.Query().Get("host"), u.User.Username()
	if host == "" {
		t.Fatalf("the test server's DSN names no folder: %s", server.DSN())
	}
	dsn := fmt.Sprintf(`host=%s port=5432 user=%s dbname=%s sslmode=disable password='%s'`, host, user, strings.Trim(u.Path, "/"), password)
	var clusterKey []byte // of the first node: the others have its database, and no key of their own
	for name, prepare := range map[string]func(n *node, printed string) string{
		"environment":       func(*node, string) string { return "" },
		"printed Caddyfile": func(_ *node, printed string) string { return printed },
		"settings alone": func(n *node, _ string) string {
			n.env = append(n.env, "PICLOUD_DATABASE_URL=")
			return "{\n\tpicloud {\n\t\tdatabase_url `" + strings.NewReplacer("{", `\{`, "}", `\}`).Replace(dsn) + "`\n\t}\n}\n"
		},
	} {
		n := newNode(t)
		n.env = append(n.env, "PICLOUD_DATABASE_URL="+dsn)
		printed, stderr, code := n.cli("config", "show")
		require.Zero(t, code, stderr)
		if file := prepare(n, printed); file != "" {
			require.NoError(t, os.WriteFile(filepath.Join(n.dir, "Caddyfile"), []byte(file), 0o600))
		}
		if clusterKey != nil {
			require.NoError(t, os.MkdirAll(n.data, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(n.data, "cluster.key"), clusterKey, 0o600))
		}
		n.launch()
		n.await("the node and its database", time.Minute, func() bool {
			stdout, _, code := n.cli("status", "-o", "json")
			return code == 0 && strings.Contains(stdout, `"state": "ready"`)
		})
		clusterKey, err = os.ReadFile(filepath.Join(n.data, "cluster.key"))
		require.NoError(t, err)
		stdout, stderr, _ := n.cli("status")
		require.Contains(t, stdout, "PostgreSQL at the configured DSN", name)
		doctor, _, _ := n.cli("doctor")
		_, _, code = n.cli("stop")
		require.Zero(t, code, name)
		for _, text := range []string{n.output.String(), stdout, stderr, doctor} {
			require.NotContains(t, text, "ecret PASS", name)
		}
	}
}

// TestWhatIsNoValueIsRefused, and never said when it is a secret.
func TestWhatIsNoValueIsRefused(t *testing.T) {
	const secret = `s"ecret-PASS{env.HOME}`
	for name, c := range map[string]struct {
		variable string
		says     []string
	}{
		"line break in a folder":  {"PICLOUD_DATA=/tmp/a\nb", []string{"PICLOUD_DATA", `"/tmp/a\nb"`, "control characters"}},
		"tab in a folder":         {"PICLOUD_DATA=/tmp/a\tb", []string{"PICLOUD_DATA", "control characters"}},
		"line break in a DSN":     {"PICLOUD_DATABASE_URL=host=db password=" + secret + "\nuser=me", []string{"PICLOUD_DATABASE_URL", "control characters"}},
		"DSN that is none":        {"PICLOUD_DATABASE_URL=postgres://me:" + secret + "@:::/%zz", []string{"PICLOUD_DATABASE_URL"}},
		"blank in a name":         {"PICLOUD_NODE_NAME=my node", []string{"my node"}},
		"placeholder as a name":   {"PICLOUD_NODE_NAME={env.HOME}", []string{"{env.HOME}"}},
		"quote in an address":     {`PICLOUD_BIND=127.0.0.1"`, []string{"PICLOUD_BIND", `an IP address or a host name`}},
		"blank in an address":     {"PICLOUD_BIND=127.0.0.1 0.0.0.0", []string{"PICLOUD_BIND"}},
		"network as an address":   {"PICLOUD_BIND=unix//tmp/x", []string{"PICLOUD_BIND"}},
		"placeholder as a port":   {"PICLOUD_HTTP_PORT={env.X}", []string{"PICLOUD_HTTP_PORT"}},
		"letters as an idle time": {"PICLOUD_EXECUTOR_IDLE=\"1m\"", []string{"PICLOUD_EXECUTOR_IDLE"}},
	} {
		for _, withFile := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", Caddyfile ", withFile), func(t *testing.T) {
				n := newNode(t)
				n.env = append(n.env, c.variable)
				if withFile {
					config, stderr, code := n.cli("config", "show")
					require.Zero(t, code, stderr)
					require.NoError(t, os.WriteFile(filepath.Join(n.dir, "Caddyfile"), []byte(config), 0o644))
				}
				n.launch()
				select {
				case <-n.exited:
				case <-time.After(time.Minute):
					t.Fatalf("the node starts: %s", n.output)
				}
				said := n.output.String()
				require.NotZero(t, n.cmd.ProcessState.ExitCode(), said)
				for _, want := range c.says {
					require.Contains(t, said, want)
				}
				require.NotContains(t, said, "ecret")
				require.NotContains(t, said, "PASS")
				require.NotContains(t, said, "goroutine ")
				n.cmd = nil
			})
		}
	}
}

// value is what a variable of the node's environment holds.
func (n *node) value(name string) string {
	value := ""
	for _, v := range n.env {
		if text, ok := strings.CutPrefix(v, name+"="); ok {
			value = text
		}
	}
	return value
}
