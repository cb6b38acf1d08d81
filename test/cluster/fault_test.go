package cluster

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// power cuts the power of a node: its process, its executors and its database end at once.
func (n *node) power() {
	n.t.Helper()
	n.signal(syscall.SIGKILL)
	killBelow(n.dir)
	<-n.exited
	n.cmd = nil
}

// kill ends the node's process and leaves its database to itself.
func (n *node) kill() {
	n.t.Helper()
	n.signal(syscall.SIGKILL)
	<-n.exited
	n.cmd = nil
}

// postgres is the process of the node's database server, 0 if there is none.
func (n *node) postgres() int {
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

// children are the names of the processes that a process has started.
func children(parent int) map[int]string {
	out := map[int]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		raw, _ := os.ReadFile(path) // empty: it has ended
		head, rest, _ := strings.Cut(string(raw), ") ")
		_, name, _ := strings.Cut(head, "(")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				out[pid] = name
			}
		}
	}
	return out
}

// freezeDatabase stops all processes of the node's server without an end: connections stay
// open and nobody answers. The result lets them go on.
func (n *node) freezeDatabase() (thaw func()) {
	n.t.Helper()
	parent := n.postgres()
	require.NotZero(n.t, parent)
	pids := []int{parent}
	for pid := range children(parent) {
		pids = append(pids, pid)
	}
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	return func() {
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

// way leads from a namespace to an address.
type way struct{ space, address string }

// cut makes ways swallow everything, without a word to whoever sends; the result heals them.
func cut(t *testing.T, ways ...way) (heal func()) {
	t.Helper()
	route := func(do string) {
		t.Helper()
		for _, w := range ways {
			require.NoError(t, ip("-n", w.space, "route", do, "blackhole", w.address+"/32"))
		}
	}
	route("add")
	return func() {
		t.Helper()
		route("del")
	}
}

// to are the ways of a node to others.
func (n *node) to(others ...*node) (ways []way) {
	for _, o := range others {
		ways = append(ways, way{n.space, o.address})
	}
	return ways
}

// from are the ways of others to a node.
func (n *node) from(others ...*node) (ways []way) {
	for _, o := range others {
		ways = append(ways, o.to(n)...)
	}
	return ways
}

// part cuts the network between a node and others, in both directions; the result heals it.
func (n *node) part(others ...*node) (heal func()) {
	n.t.Helper()
	return cut(n.t, append(n.to(others...), n.from(others...)...)...)
}

// move gives the node's machine another address.
func (n *node) move(address string) {
	n.t.Helper()
	require.NoError(n.t, ip("-n", n.space, "addr", "del", n.address+"/24", "dev", "eth0"))
	require.NoError(n.t, ip("-n", n.space, "addr", "add", address+"/24", "dev", "eth0"))
	n.address = address
	n.http.CloseIdleConnections()
}

// smallDisk puts the node's data folder on a disk of its own. The node must not have run.
func (n *node) smallDisk(size string) {
	n.t.Helper()
	require.NoError(n.t, os.Mkdir(n.data, 0o711))
	require.NoError(n.t, syscall.Mount("tmpfs", n.data, "tmpfs", 0, "size="+size+",mode=0711"))
}

// fill takes all the room of the node's disk; the result gives it back.
func (n *node) fill() (free func()) {
	n.t.Helper()
	path := filepath.Join(n.data, "ballast")
	f, err := os.Create(path)
	require.NoError(n.t, err)
	defer f.Close()
	for size := 1 << 20; size >= 1; size /= 2 {
		for chunk := make([]byte, size); err == nil; {
			_, err = f.Write(chunk)
		}
		require.ErrorIs(n.t, err, syscall.ENOSPC)
		err = nil
	}
	return func() {
		n.t.Helper()
		require.NoError(n.t, os.Remove(path))
	}
}

// load calls a function on nodes until it is ended, and counts what was no 200.
type load struct {
	stop          chan struct{}
	done          chan struct{}
	calls, failed int
	first         string // the first failure

	mu    sync.Mutex // held during a call
	nodes []*node
}

// underLoad begins to call a function on nodes, one after another.
func underLoad(function string, nodes ...*node) *load {
	l := &load{stop: make(chan struct{}), done: make(chan struct{}), nodes: nodes}
	go func() {
		defer close(l.done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			l.call(i, function)
			select {
			case <-l.stop:
				return
			case <-tick.C:
			}
		}
	}()
	return l
}

func (l *load) call(i int, function string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[i%len(l.nodes)]
	status, body := n.call(function)
	if l.calls++; status != 200 {
		if l.failed++; l.first == "" {
			l.first = n.name + ": " + strconv.Itoa(status) + " " + body
		}
	}
}

// on moves the load to other nodes. When it returns, the others get no call any more.
func (l *load) on(nodes ...*node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes = nodes
}

// requireAll ends the load, and requires that every call was answered.
func (l *load) requireAll(n *node) {
	n.t.Helper()
	close(l.stop)
	<-l.done
	require.Zerof(n.t, l.failed, "of %d calls; the first: %s", l.calls, l.first)
	require.NotZero(n.t, l.calls)
}
