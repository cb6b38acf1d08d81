package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// binaries is the folder with picloud and picloud-executor, built once.
var binaries string

func TestMain(m *testing.M) {
	sweep()
	dir, err := os.MkdirTemp("", "picloud-bin-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", dir+"/", "../../cmd/...")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build binaries:", err)
		os.Exit(1)
	}
	binaries = dir
	// Most of each test is waiting, so that more of them than cores may run at a time.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// long reports whether the long form of the suite runs.
func long() bool { return os.Getenv("PICLOUD_TEST_CLUSTER") == "long" }

// either is what the short form takes, or the long one.
func either[T any](short, longer T) T {
	if long() {
		return longer
	}
	return short
}

// prefix begins the names of the namespaces and folders of labs. The number of the process
// follows, so that a later run finds what a killed one has left.
const prefix = "picloud-lab"

// sweep ends what labs of processes that are no more have left: namespaces, mounts, nodes.
func sweep() {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"-*"))
	spaces, _ := filepath.Glob("/run/netns/" + prefix + "-*")
	for _, path := range append(folders, spaces...) {
		pid, err := strconv.Atoi(strings.Split(filepath.Base(path), "-")[2])
		if err != nil || syscall.Kill(pid, 0) == nil {
			continue
		}
		if strings.HasPrefix(path, "/run/netns/") {
			exec.Command("ip", "netns", "del", filepath.Base(path)).Run()
			continue
		}
		killBelow(path)
		remove(path)
	}
}

// killBelow kills every process that works in a folder or whose program runs on it.
func killBelow(dir string) {
	for range 50 {
		left := below(dir)
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			syscall.Kill(pid, syscall.SIGCONT)
			syscall.Kill(pid, syscall.SIGKILL)
		}
		pause(20 * time.Millisecond)
	}
}

// below lists the processes of a folder.
func below(dir string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range all {
		cwd, _ := os.Readlink(filepath.Join(path, "cwd"))
		line, err := os.ReadFile(filepath.Join(path, "cmdline"))
		if err != nil || len(line) == 0 || !strings.HasPrefix(cwd, dir+"/") && !strings.Contains(string(line), dir+"/") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(path)); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// remove deletes a folder, and unmounts what is mounted in it.
func remove(dir string) error {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			syscall.Unmount(f[1], unix.MNT_DETACH)
		}
	}
	return os.RemoveAll(dir)
}

// pause waits for a moment that has no event to wait for.
func pause(d time.Duration) { <-time.After(d) }

// lab is a network with nodes.
type lab struct {
	t      *testing.T
	name   string // of its namespaces, each with a number
	dir    string
	spaces bool // each node has a network namespace; else they share the machine's
	nodes  []*node
}

var labs atomic.Int32

// newLab makes a network, in namespaces where that is permitted.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := newFlatLab(t)
	if os.Geteuid() != 0 {
		t.Log("network namespaces need root: the nodes are on 127.0.1.x")
		return l
	}
	if err := l.makeHub(); err != nil {
		t.Logf("network namespaces are not permitted (%v): the nodes are on 127.0.1.x", err)
		return l
	}
	t.Logf("the nodes are in the network namespaces %s-1 to -N", l.name)
	l.spaces = true
	return l
}

// newFlatLab makes a lab whose nodes are on loopback addresses of this machine.
func newFlatLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, name: fmt.Sprintf("%s-%d-%d", prefix, os.Getpid(), labs.Add(1))}
	// Not t.TempDir: its parents are closed to the uids of PostgreSQL and executors.
	l.dir = filepath.Join(os.TempDir(), l.name)
	require.NoError(t, os.Mkdir(l.dir, 0o755))
	t.Cleanup(l.close)
	return l
}

// close ends all that is in the lab, whatever state the test has left it in.
func (l *lab) close() {
	for _, n := range l.nodes {
		if l.t.Failed() || os.Getenv("PICLOUD_TEST_CLUSTER_LOG") != "" {
			for _, said := range append(n.before, n.output) {
				l.t.Logf("%s said: %s", n.name, said)
			}
		}
		n.signal(syscall.SIGCONT)
		n.stop()
	}
	killBelow(l.dir)
	if l.spaces {
		for i := range l.nodes {
			ip("netns", "del", l.space(i+1))
		}
		ip("netns", "del", l.space(0))
	}
	if err := remove(l.dir); err != nil {
		l.t.Errorf("the lab leaves %s: %v", l.dir, err)
	}
}

// space is the name of a node's namespace; that of the bridge is 0.
func (l *lab) space(number int) string { return fmt.Sprintf("%s-%d", l.name, number) }

// makeHub makes the namespace of the bridge.
func (l *lab) makeHub() error {
	err := ip("netns", "add", l.space(0))
	if err == nil {
		err = ip("-n", l.space(0), "link", "add", "hub", "type", "bridge")
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "add", gateAddress + "/24", "dev", "hub"},
		{"link", "set", "hub", "up"},
	} {
		if err == nil {
			err = ip(append([]string{"-n", l.space(0)}, args...)...)
		}
	}
	if err != nil {
		ip("netns", "del", l.space(0))
	}
	return err
}

// plug makes the namespace of a node, with a cable to the bridge.
func (l *lab) plug(number int, address string) {
	l.t.Helper()
	space, port := l.space(number), fmt.Sprintf("port%d", number)
	for _, args := range [][]string{
		{"netns", "add", space},
		{"-n", l.space(0), "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space},
		{"-n", l.space(0), "link", "set", port, "master", "hub", "up"},
		{"-n", space, "link", "set", "lo", "up"},
		{"-n", space, "addr", "add", address + "/24", "dev", "eth0"},
		{"-n", space, "link", "set", "eth0", "up"},
	} {
		require.NoError(l.t, ip(args...))
	}
}

// ip runs the command of iproute2.
func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// inside runs f on a thread in a network namespace. What f starts or opens there stays there.
func inside(space string, f func() error) error {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	there, err := os.Open("/run/netns/" + space)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = f()
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// listen opens a port in a namespace.
func listen(space, address string) (l net.Listener, err error) {
	if space == "" {
		return net.Listen("tcp", address)
	}
	err = inside(space, func() error {
		l, err = net.Listen("tcp", address)
		return err
	})
	return l, err
}

// dial opens a connection from a namespace. The address is a number: a name would be looked
// up on another thread.
func dial(ctx context.Context, space, network, address string) (conn net.Conn, err error) {
	var d net.Dialer
	if space == "" {
		return d.DialContext(ctx, network, address)
	}
	err = inside(space, func() error {
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
