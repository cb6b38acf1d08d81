package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// binaries is the folder with picloud and picloud-executor, built once.
var binaries string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "picloud-bin-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", dir+"/", "../cmd/...")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build binaries:", err)
		os.Exit(1)
	}
	binaries = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// node is one PiCloud node: a data folder, ports, and the process of the moment.
type node struct {
	t         *testing.T
	dir, data string
	binaries  string
	env       []string
	functions string
	control   string
	// as runs the node under another uid; nil: as the test.
	as *syscall.Credential
	// How the next process is started: its session and terminal, its standard input
	// and output if they are not the buffer, and a program that starts it.
	attr          *syscall.SysProcAttr
	stdin, stdout *os.File
	before        []string

	cmd    *exec.Cmd
	output *safeBuffer
	exited chan struct{}
}

// newNode prepares a node; start starts it.
func newNode(t *testing.T) *node {
	t.Helper()
	// Not t.TempDir: its parents are closed to the uids of PostgreSQL and executors.
	dir, err := os.MkdirTemp("", "picloud-node-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	n := &node{t: t, dir: dir, data: filepath.Join(dir, "data"), binaries: binaries}
	n.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "PICLOUD_DATA=" + n.data,
		"PICLOUD_NODE_NAME=pi-1", "PICLOUD_BIND=127.0.0.1",
	}
	n.ports()
	t.Cleanup(func() {
		n.stop()
		n.killPostgres(syscall.SIGQUIT)
		require.NoError(t, os.RemoveAll(dir))
	})
	return n
}

// ports gives the node free ports; all are held until the last is found.
func (n *node) ports() {
	for env, url := range map[string]*string{
		"PICLOUD_HTTP_PORT": &n.functions, "PICLOUD_HTTPS_PORT": new(string), "PICLOUD_ADMIN_PORT": &n.control,
		"PICLOUD_CLUSTER_PORT": new(string), "PICLOUD_GOSSIP_PORT": new(string),
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(n.t, err)
		defer l.Close()
		n.env = append(n.env, fmt.Sprintf("%s=%d", env, l.Addr().(*net.TCPAddr).Port))
		*url = "http://" + l.Addr().String()
	}
}

// invitation returns the arguments with which another node joins this one's cluster.
func (n *node) invitation() []string {
	n.t.Helper()
	var made struct{ Token, Address string }
	said, stderr, code := n.cli("node", "invite", "-o", "json")
	require.Zero(n.t, code, stderr)
	require.NoError(n.t, json.Unmarshal([]byte(said), &made))
	return []string{"--join", made.Address, "--token", made.Token}
}

// launch starts the process and does not wait for it to be ready.
func (n *node) launch(args ...string) {
	n.t.Helper()
	n.output, n.exited = &safeBuffer{}, make(chan struct{})
	line := append(append(slices.Clone(n.before), filepath.Join(n.binaries, "picloud"), "run"), args...)
	n.cmd = exec.Command(line[0], line[1:]...)
	n.cmd.Dir, n.cmd.Env = n.dir, n.env
	n.cmd.Stdout, n.cmd.Stderr = n.output, n.output
	if n.cmd.SysProcAttr = n.attr; n.attr == nil {
		n.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	n.cmd.SysProcAttr.Credential = n.as
	if n.stdin != nil {
		n.cmd.Stdin = n.stdin
	}
	if n.stdout != nil {
		n.cmd.Stdout = n.stdout
	}
	// Children that outlive a killed node must not keep Wait waiting.
	n.cmd.WaitDelay = time.Second
	require.NoError(n.t, n.cmd.Start())
	cmd, exited := n.cmd, n.exited
	go func() {
		cmd.Wait()
		close(exited)
	}()
}

// start starts the process and waits until it is ready.
func (n *node) start(args ...string) *node {
	n.t.Helper()
	n.launch(args...)
	n.await("the node to be ready", 60*time.Second, func() bool {
		select {
		case <-n.exited:
			n.t.Fatalf("the node ended: %s", n.output)
		default:
		}
		status, _, err := n.get(n.control + "/readyz")
		return err == nil && status == http.StatusOK
	})
	return n
}

// awaitDatabase waits until the control API has its database.
func (n *node) awaitDatabase() {
	n.t.Helper()
	n.await("the control API", 60*time.Second, func() bool {
		status, _ := n.api(http.MethodGet, "/apps", "")
		return status == http.StatusOK
	})
}

// await polls until the condition holds.
func (n *node) await(what string, within time.Duration, holds func() bool) {
	n.t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			n.t.Fatalf("waited %s for %s in vain; the node said: %s", within, what, n.output)
		}
		<-tick.C
	}
}

// stop ends the process as systemd would.
func (n *node) stop() {
	if n.cmd == nil {
		return
	}
	n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.exited:
	case <-time.After(30 * time.Second):
		n.cmd.Process.Kill()
		n.t.Errorf("the node did not stop within 30 s; it said: %s", n.output)
	}
	n.cmd = nil
}

// postgresPID is the process of the managed server, 0 if there is none.
func (n *node) postgresPID() int {
	raw, err := os.ReadFile(filepath.Join(n.data, "postgres", "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}

// killPostgres signals the managed server and waits until it is gone.
func (n *node) killPostgres(signal syscall.Signal) {
	pid := n.postgresPID()
	if pid == 0 {
		return
	}
	syscall.Kill(pid, signal)
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); syscall.Kill(pid, 0) == nil; <-tick.C {
		if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(raw), ") Z ") {
			return // a zombie of its parent
		}
		if time.Now().After(deadline) {
			n.t.Errorf("postgres %d does not end", pid)
			return
		}
	}
}

// workers lists the executor processes of this node.
func (n *node) workers() []int {
	var out []int
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(n.t, err)
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		text := string(raw)
		open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
		fields := strings.Fields(text[end+1:])
		if strings.HasPrefix(text[open+1:end], "postgres") || fields[1] != strconv.Itoa(n.cmd.Process.Pid) || fields[0] == "Z" {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(text[:open]))
		require.NoError(n.t, err)
		out = append(out, pid)
	}
	return out
}

// token is the admin token of the first run.
func (n *node) token() string {
	raw, err := os.ReadFile(filepath.Join(n.data, "credentials"))
	if err != nil {
		return ""
	}
	var c struct{ Token string }
	require.NoError(n.t, json.Unmarshal(raw, &c))
	return c.Token
}

// request is one request with a deadline.
func (n *node) request(method, url, body string, header ...string) (*http.Response, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	require.NoError(n.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp, string(raw), err
}

func (n *node) get(url string) (status int, body string, err error) {
	resp, body, err := n.request(http.MethodGet, url, "")
	if err != nil {
		return 0, "", err
	}
	return resp.StatusCode, body, nil
}

// api calls the control API as the admin; status 0 means no answer.
func (n *node) api(method, path, body string) (status int, answer string) {
	resp, answer, err := n.request(method, n.control+"/api/v1"+path, body,
		"Authorization", "Bearer "+n.token(), "Content-Type", "application/json")
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, answer
}

// put deploys code and returns the status and the answer.
func (n *node) put(app, function, source string) (status int, answer string) {
	return n.api(http.MethodPut, "/apps/"+app+"/functions/"+function+"/code?create=true&deploy=true&wait=all", source)
}

// deploy deploys code that must be accepted.
func (n *node) deploy(function, source string) {
	n.t.Helper()
	status, answer := n.put("default", function, source)
	require.Contains(n.t, []int{http.StatusOK, http.StatusCreated}, status, answer)
}

// call calls a function.
func (n *node) call(function string) (status int, body string) {
	status, body, err := n.get(n.functions + "/fn/default/" + function)
	if err != nil {
		return 0, err.Error()
	}
	return status, body
}

// cli runs the command line client as a user in the node's folder would.
func (n *node) cli(args ...string) (stdout, stderr string, code int) {
	cmd := exec.Command(filepath.Join(binaries, "picloud"), args...)
	cmd.Dir, cmd.Env = n.dir, n.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: n.as}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		n.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// safeBuffer is a buffer that a process writes while the test reads.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
