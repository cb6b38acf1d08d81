package elect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to happen, on a busy machine.
const patience = 20 * time.Second

const clusterID = "0c6f1c6f-6f5c-4a54-9f6e-2b8c3f1d0a00"

// quick are timers for tests.
var quick = timers{
	heartbeat: 250 * time.Millisecond, election: 250 * time.Millisecond, lease: 200 * time.Millisecond, commit: 20 * time.Millisecond,
	rpc: time.Second, store: time.Second, apply: time.Second, sick: 1500 * time.Millisecond,
	tick: 50 * time.Millisecond, probe: 50 * time.Millisecond, fence: 300 * time.Millisecond, rest: time.Second,
	rebuild: 20 * time.Millisecond, rebuildMax: 400 * time.Millisecond, leaseLength: 300 * time.Millisecond,
}

// fence is the row of PostgreSQL in memory, with the rules of fleet.Leadership.
type fence struct {
	mu    sync.Mutex
	term  uint64
	epoch int64
	node  string
	until time.Time // zero: no lease
	down  bool
	asked atomic.Int64

	challenge func() // is told when a holder at rest gets a lease; nil: nobody is
}

var errDown = errors.New("the database does not answer")

func (f *fence) Acquire(_ context.Context, cluster string, term uint64, node string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked.Add(1)
	switch {
	case f.down:
		return 0, errDown
	case cluster != clusterID, term < f.term, term == f.term && node != f.node && (f.until.IsZero() || time.Now().Before(f.until)):
		return 0, &picloud.Error{Code: picloud.CodeDeposed}
	}
	if term > f.term || node != f.node {
		f.epoch++
	}
	f.term, f.node, f.until = term, node, time.Time{}
	return f.epoch, nil
}

func (f *fence) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// write is a write of the manager: it says whether the fence lets it through.
func (f *fence) write(epoch int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.down:
		return errDown
	case f.epoch != epoch:
		return &picloud.Error{Code: picloud.CodeDeposed}
	}
	return nil
}

// stream is plain TCP that can be cut off from all others.
type stream struct {
	net.Listener
	cut   atomic.Bool
	mu    sync.Mutex
	conns []net.Conn
}

func listen(t *testing.T) *stream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return &stream{Listener: l}
}

func (s *stream) keep(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut.Load() {
		_ = c.Close()
	}
	s.conns = append(s.conns, c)
	return c, nil
}

func (s *stream) Accept() (net.Conn, error) { return s.keep(s.Listener.Accept()) }

func (s *stream) Dial(address string, timeout time.Duration) (net.Conn, error) {
	if s.cut.Load() {
		return nil, errors.New("no route to host")
	}
	return s.keep(net.DialTimeout("tcp", address, timeout))
}

// partition cuts the node off, or heals it.
func (s *stream) partition(cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut.Store(cut)
	if cut {
		for _, c := range s.conns {
			_ = c.Close()
		}
		s.conns = nil
	}
}

// node is a member of a test's group.
type node struct {
	*Raft
	id     string
	stream *stream
	disk   *sick
	epoch  atomic.Int64 // of the duty that runs; 0: none
	runs   atomic.Int64 // duties that began
	over   atomic.Int64 // duties at once, at most
	now    atomic.Int64
	lead   atomic.Pointer[Lead]
	ended  chan time.Time // when duties saw the end of their contexts
	quit   chan error     // makes the duty return
}

// group is a cluster in one process.
type group struct {
	t     *testing.T
	fence *fence
	nodes []*node
	mu    sync.Mutex
	list  []Candidate // what the database lists
}

func nodeID(i int) string { return fmt.Sprintf("6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a%02d", i) }

// newGroup starts nodes over TCP, the first of which begins the group, and waits until all
// that may vote do.
func newGroup(t *testing.T, count int, change ...func(*Options)) *group {
	t.Helper()
	g := &group{t: t, fence: &fence{}}
	for i := range count {
		g.add(i, change...)
	}
	voters, standbys := Targets(count)
	g.eventually(func() bool {
		for _, n := range g.nodes { // each, or a change may not be committed yet
			if !n.knows(voters, standbys) {
				return false
			}
		}
		return g.leader() != nil
	}, "the members join")
	return g
}

// knows reports whether the node knows so many voters and standbys.
func (n *node) knows(voters, standbys int) bool {
	for _, s := range n.Status().Servers {
		if s.Voter {
			voters--
		} else {
			standbys--
		}
	}
	return voters == 0 && standbys == 0
}

// members reports whether the leader knows so many voters and standbys.
func (g *group) members(voters, standbys int) bool {
	l := g.leader()
	return l != nil && l.knows(voters, standbys)
}

func (g *group) add(i int, change ...func(*Options)) *node {
	g.t.Helper()
	s := listen(g.t)
	n := &node{id: nodeID(i), stream: s, disk: &sick{}, ended: make(chan time.Time, 100), quit: make(chan error)}
	o := Options{
		Node: n.id, Address: s.Addr().String(), Cluster: clusterID, Dir: filepath.Join(g.t.TempDir(), "raft"), Stream: s,
		Fence: g.fence, Duty: n.duty, timers: &quick, disk: n.disk.open, Nodes: g.listed,
		AddressOf: func(node string) (string, bool) {
			g.mu.Lock()
			defer g.mu.Unlock()
			for _, c := range g.list {
				if c.Node == node {
					return c.Address, true
				}
			}
			return "", false
		},
		Found: func(context.Context) (uint64, bool, error) { return 0, i == 0, nil },
	}
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With(slog.Int("on", i))
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	n.Raft, err = NewRaft(o)
	require.NoError(g.t, err)
	g.mu.Lock()
	g.nodes = append(g.nodes, n)
	g.list = append(g.list, Candidate{Node: n.id, Address: o.Address, Manager: true, Alive: true, Since: time.Now().Add(-time.Hour)})
	g.mu.Unlock()
	require.NoError(g.t, n.Start())
	g.t.Cleanup(func() { n.disk.mend(); n.Stop() })
	return n
}

func (g *group) listed(context.Context) ([]Candidate, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Candidate(nil), g.list...), nil
}

// forget removes a node from the database's list.
func (g *group) forget(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, c := range g.list {
		if c.Node == id {
			g.list = append(g.list[:i:i], g.list[i+1:]...)
			return
		}
	}
}

// again starts a node of the group once more, on its folder.
func (g *group) again(n *node) {
	g.t.Helper()
	var err error
	old := n.Raft
	n.stream = listen(g.t)
	o := old.o
	o.Stream, o.Address = n.stream, n.stream.Addr().String()
	n.Raft, err = NewRaft(o)
	require.NoError(g.t, err)
	g.mu.Lock()
	for i := range g.list {
		if g.list[i].Node == n.id {
			g.list[i].Address = o.Address
		}
	}
	g.mu.Unlock()
	require.NoError(g.t, n.Start())
	g.t.Cleanup(n.Stop)
}

// leader returns the node that does the duty of the present epoch, or nil.
func (g *group) leader() *node {
	for _, n := range g.nodes {
		if e := n.epoch.Load(); e != 0 && g.fence.write(e) == nil {
			return n
		}
	}
	return nil
}

// other returns a node that is none of those.
func (g *group) other(not ...*node) *node {
	for _, n := range g.nodes {
		found := false
		for _, x := range not {
			found = found || x == n
		}
		if !found {
			return n
		}
	}
	return nil
}

func (g *group) eventually(ok func() bool, what string) {
	g.t.Helper()
	require.Eventually(g.t, ok, patience, 2*time.Millisecond, what)
}

// newLeader waits for a leader that is not old.
func (g *group) newLeader(old *node) *node {
	g.t.Helper()
	var l *node
	g.eventually(func() bool { l = g.leader(); return l != nil && l != old }, "another node leads")
	return l
}

func (n *node) duty(ctx context.Context, lead Lead, epoch int64) error {
	n.lead.Store(&lead)
	n.runs.Add(1)
	if now := n.now.Add(1); now > n.over.Load() {
		n.over.Store(now)
	}
	defer n.now.Add(-1)
	n.epoch.Store(epoch)
	defer n.epoch.Store(0)
	select {
	case <-ctx.Done():
		n.ended <- time.Now()
		return ctx.Err()
	case err := <-n.quit:
		return err
	}
}

// sick is a disk that can hang or fail.
type sick struct {
	hang atomic.Pointer[chan struct{}]
	fail atomic.Pointer[error]
	read atomic.Pointer[error] // of entries alone
}

func (s *sick) open(dir string) (disk, error) {
	if err := s.wait(); err != nil {
		return nil, err
	}
	d, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	return sickDisk{d, s}, nil
}

// block lets all operations hang until mend.
func (s *sick) block() {
	c := make(chan struct{})
	s.hang.Store(&c)
}

func (s *sick) mend() {
	s.fail.Store(nil)
	s.read.Store(nil)
	if c := s.hang.Swap(nil); c != nil {
		close(*c)
	}
}

func (s *sick) wait() error {
	if c := s.hang.Load(); c != nil {
		<-*c
	}
	if err := s.fail.Load(); err != nil {
		return *err
	}
	return nil
}

type sickDisk struct {
	disk
	sick *sick
}

func (d sickDisk) StoreLogs(l []*raft.Log) error {
	if err := d.sick.wait(); err != nil {
		return err
	}
	return d.disk.StoreLogs(l)
}

func (d sickDisk) SetUint64(k []byte, v uint64) error {
	if err := d.sick.wait(); err != nil {
		return err
	}
	return d.disk.SetUint64(k, v)
}

func (d sickDisk) GetLog(i uint64, l *raft.Log) error {
	if err := d.sick.wait(); err != nil {
		return err
	}
	if err := d.sick.read.Load(); err != nil {
		return *err
	}
	return d.disk.GetLog(i, l)
}

func (d sickDisk) Probe() error {
	if err := d.sick.wait(); err != nil {
		return err
	}
	return d.disk.Probe()
}
