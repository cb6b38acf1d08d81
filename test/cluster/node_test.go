package cluster

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

	"github.com/picloud/picloud"
)

// node is one node of a lab: a data folder, an address, and the process of the moment.
type node struct {
	t         *testing.T
	lab       *lab
	number    int
	name      string
	dir, data string
	address   string
	space     string // its network namespace; empty: the machine's own
	env       []string
	args      []string // of `picloud run`, at every start
	ports     ports
	http      *http.Client
	token     string // of the cluster's admin

	cmd    *exec.Cmd
	output *safeBuffer   // of the process
	before []*safeBuffer // of those before it
	exited chan struct{}
}

type ports struct{ functions, control, cluster, gossip int }

// add prepares a node; start starts it. Args are what `picloud run` gets.
func (l *lab) add(args ...string) *node {
	l.t.Helper()
	number := len(l.nodes) + 1
	n := &node{t: l.t, lab: l, number: number, name: fmt.Sprintf("pi-%d", number), args: args, output: &safeBuffer{}}
	n.dir = filepath.Join(l.dir, n.name)
	n.data = filepath.Join(n.dir, "data")
	require.NoError(l.t, os.Mkdir(n.dir, 0o755))
	n.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.dir, "PICLOUD_DATA=" + n.data, "PICLOUD_NODE_NAME=" + n.name}
	if level := os.Getenv("PICLOUD_TEST_CLUSTER_LOG"); level != "" {
		n.env = append(n.env, "PICLOUD_LOG_LEVEL="+level)
	}
	l.nodes = append(l.nodes, n)
	if l.spaces {
		n.address, n.space = fmt.Sprintf("10.77.0.%d", number), l.space(number)
		n.ports = ports{functions: 8080, control: 8081, cluster: 7947, gossip: 7946}
		l.plug(number, n.address)
	} else {
		n.address = fmt.Sprintf("127.0.1.%d", number)
		n.choosePorts()
	}
	n.http = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(ctx, n.space, network, address)
		},
		MaxIdleConnsPerHost: 16,
	}}
	l.t.Cleanup(n.http.CloseIdleConnections)
	return n
}

// choosePorts gives the node free ports; all are held until the last is found.
func (n *node) choosePorts() {
	n.env = append(n.env, "PICLOUD_BIND="+n.address)
	for env, place := range map[string]*int{
		"PICLOUD_HTTP_PORT": &n.ports.functions, "PICLOUD_HTTPS_PORT": new(int), "PICLOUD_ADMIN_PORT": &n.ports.control,
		"PICLOUD_CLUSTER_PORT": &n.ports.cluster, "PICLOUD_GOSSIP_PORT": &n.ports.gossip,
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(n.t, err)
		defer l.Close()
		*place = l.Addr().(*net.TCPAddr).Port
		n.env = append(n.env, fmt.Sprintf("%s=%d", env, *place))
	}
}

// begin makes a lab with a cluster of count nodes. The first is the one that was there
// before the others, and has the database.
func begin(t *testing.T, count int) *lab {
	t.Helper()
	l := newLab(t)
	l.add()
	l.fill(count)
	return l
}

// fill starts the first node, and lets others join until there are count.
func (l *lab) fill(count int) {
	l.t.Helper()
	first := l.nodes[0].found()
	if count > 1 {
		invitation := first.invite("--uses", strconv.Itoa(count-1))
		for range count - 1 {
			l.join(invitation)
		}
	}
	l.awaitLive(20 * time.Second)
}

// join adds a node with an invitation.
func (l *lab) join(invitation []string) *node {
	l.t.Helper()
	n := l.add(invitation...)
	n.token = l.nodes[0].token
	return n.start()
}

// invite returns the arguments with which other nodes join this one's cluster.
func (n *node) invite(flags ...string) []string {
	n.t.Helper()
	var made struct{ Token, Address string }
	said, stderr, code := n.cli(append([]string{"node", "invite", "-o", "json"}, flags...)...)
	require.Zero(n.t, code, stderr)
	require.NoError(n.t, json.Unmarshal([]byte(said), &made))
	return []string{"--join", made.Address, "--token", made.Token}
}

// command is a program of the node's machine.
func (n *node) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(binaries, "picloud"), args...)
	cmd.Dir, cmd.Env = n.dir, n.env
	if n.token != "" {
		cmd.Env = append(slices.Clone(n.env), "PICLOUD_TOKEN="+n.token)
	}
	return cmd
}

// begin starts a program in the node's namespace.
func (n *node) begin(cmd *exec.Cmd) error {
	if n.space == "" {
		return cmd.Start()
	}
	return inside(n.space, cmd.Start)
}

// launch starts the process and does not wait for it to be ready.
func (n *node) launch() *node {
	n.t.Helper()
	n.before = append(n.before, n.output)
	n.output, n.exited = &safeBuffer{}, make(chan struct{})
	n.cmd = exec.Command(filepath.Join(binaries, "picloud"), append([]string{"run"}, n.args...)...)
	n.cmd.Dir, n.cmd.Env = n.dir, n.env
	n.cmd.Stdout, n.cmd.Stderr = n.output, n.output
	n.cmd.WaitDelay = time.Second // children that outlive a killed node must not keep Wait waiting
	require.NoError(n.t, n.begin(n.cmd))
	cmd, exited := n.cmd, n.exited
	go func() {
		cmd.Wait()
		close(exited)
	}()
	return n
}

// start starts the process and waits until it is ready.
func (n *node) start() *node {
	n.t.Helper()
	n.launch()
	n.awaitReady(60 * time.Second)
	return n
}

// found starts the first node of a cluster.
func (n *node) found() *node {
	n.t.Helper()
	n.start()
	n.token = n.readToken()
	return n
}

func (n *node) awaitReady(within time.Duration) {
	n.t.Helper()
	n.await("the node to be ready", within, func() bool {
		if n.ended() {
			n.t.Fatalf("%s ended: %s", n.name, n.output)
		}
		status, _ := n.get(n.control("/readyz"))
		return status == http.StatusOK
	})
}

// ended reports whether the process is no more.
func (n *node) ended() bool {
	select {
	case <-n.exited:
		return true
	default:
		return false
	}
}

// await polls until the condition holds, and returns how long that took.
func (n *node) await(what string, within time.Duration, holds func() bool) time.Duration {
	n.t.Helper()
	begun := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Since(begun) > within {
			n.t.Fatalf("%s: waited %s for %s in vain; it said: %s", n.name, within, what, n.output)
		}
		<-tick.C
	}
	return time.Since(begun)
}

// stop ends the process as systemd would.
func (n *node) stop() {
	if n.cmd == nil {
		return
	}
	n.signal(syscall.SIGTERM)
	select {
	case <-n.exited:
	case <-time.After(30 * time.Second):
		n.signal(syscall.SIGKILL)
		n.t.Errorf("%s did not stop within 30 s; it said: %s", n.name, n.output)
	}
	n.cmd = nil
}

// signal signals the node's process and no other.
func (n *node) signal(s syscall.Signal) {
	if n.cmd != nil {
		n.cmd.Process.Signal(s)
	}
}

// control is a URL of the control API, functions one of the public port.
func (n *node) control(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", n.ports.control, path)
}

func (n *node) functions(path string) string {
	return "http://" + net.JoinHostPort(n.address, strconv.Itoa(n.ports.functions)) + path
}

// readToken reads the admin token that the first start of a cluster saved.
func (n *node) readToken() string {
	n.t.Helper()
	raw, err := os.ReadFile(filepath.Join(n.data, "credentials"))
	require.NoError(n.t, err)
	var c struct{ Token string }
	require.NoError(n.t, json.Unmarshal(raw, &c))
	return c.Token
}

// answer is what came back of a request; status 0 means that nothing did.
type answer struct {
	status int
	header http.Header
	body   string // of no answer: why
}

// send is one request from the node's own machine.
func (n *node) send(ctx context.Context, method, url, body string, header ...string) answer {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	require.NoError(n.t, err)
	if strings.HasPrefix(url, n.control("/api/")) {
		req.Header.Set("Authorization", "Bearer "+n.token)
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := n.http.Do(req)
	if err != nil {
		return answer{body: err.Error()}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{body: err.Error()}
	}
	return answer{resp.StatusCode, resp.Header, string(raw)}
}

// do is send without the headers.
func (n *node) do(method, url, body string) (status int, text string) {
	a := n.send(n.t.Context(), method, url, body)
	return a.status, a.body
}

func (n *node) get(url string) (status int, text string) { return n.do(http.MethodGet, url, "") }

// call calls a function of this node.
func (n *node) call(function string) (status int, body string) {
	return n.get(n.functions("/fn/default/" + function))
}

// awaitAnswer waits until a function of this node answers with a text.
func (n *node) awaitAnswer(function, text string, within time.Duration) time.Duration {
	n.t.Helper()
	return n.await(fmt.Sprintf("%s to answer %q", function, text), within, func() bool { _, body := n.call(function); return body == text })
}

// returning is a function that answers with a text.
func returning(text string) string { return fmt.Sprintf("function handle(req) { return %q }", text) }

// put deploys code through this node.
func (n *node) put(function, source string) (status int, text string) {
	return n.do(http.MethodPut, n.control("/api/v1/apps/default/functions/"+function+"/code?create=true&deploy=true&wait=all"), source)
}

// deploy deploys a function that answers with a text.
func (n *node) deploy(function, text string) {
	n.t.Helper()
	n.deployCode(function, returning(text))
}

// deployCode deploys code that must be live on every node when the answer comes.
func (n *node) deployCode(function, source string) {
	n.t.Helper()
	status, said := n.put(function, source)
	require.Contains(n.t, []int{http.StatusOK, http.StatusCreated}, status, said)
}

// cluster is the cluster as the manager sees it, asked through this node, or as this node does
// when it sees none; the zero value when there is no answer.
func (n *node) cluster() (s picloud.ClusterState) {
	n.t.Helper()
	if status, text := n.get(n.control("/api/v1/cluster")); status == http.StatusOK {
		require.NoError(n.t, json.Unmarshal([]byte(text), &s))
	}
	return s
}

// cli runs the command line client on the node's machine.
func (n *node) cli(args ...string) (stdout, stderr string, code int) { return n.typed("", args...) }

// typed is cli with an input; empty: there is none.
func (n *node) typed(input string, args ...string) (stdout, stderr string, code int) {
	cmd := n.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if input != "" {
		cmd.Stdin = strings.NewReader(input)
	}
	require.NoError(n.t, n.begin(cmd))
	cmd.Wait()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// awaitLive waits until every node that runs takes part in a deploy.
func (l *lab) awaitLive(within time.Duration) time.Duration {
	l.t.Helper()
	n := l.running()[0]
	return n.await("a deploy to be live on every node", within, func() bool {
		status, _ := n.put("live", returning(fmt.Sprint(time.Now().UnixNano())))
		return status == http.StatusOK || status == http.StatusCreated
	})
}

// running are the nodes whose process is there.
func (l *lab) running() (out []*node) {
	for _, n := range l.nodes {
		if n.cmd != nil {
			out = append(out, n)
		}
	}
	return out
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

// metric is a figure of the node's metrics; 0: there is none of that name.
func (n *node) metric(name string) float64 {
	_, text := n.get(n.control("/metrics"))
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			require.NoError(n.t, err)
			return f
		}
	}
	return 0
}
