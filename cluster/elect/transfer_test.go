package elect

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// memory connects transports in memory, so that a test can stop one kind of message.
type memory struct {
	mu  sync.Mutex
	all map[raft.ServerAddress]*raft.InmemTransport
}

// stuck is a transport whose handovers never arrive while it is held.
type stuck struct {
	*raft.InmemTransport
	memory *memory
	held   *atomic.Pointer[chan struct{}]
}

func (s stuck) TimeoutNow(id raft.ServerID, at raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	if c := s.held.Load(); c != nil {
		<-*c
		return raft.ErrTransportShutdown
	}
	return s.InmemTransport.TimeoutNow(id, at, req, resp)
}

// AppendEntriesPipeline is off, as in a node.
func (stuck) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func (s stuck) Close() error {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	for _, other := range s.memory.all {
		other.Disconnect(s.LocalAddr())
	}
	return s.InmemTransport.Close()
}

func (m *memory) open(at string, held *atomic.Pointer[chan struct{}]) rpcs {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, own := raft.NewInmemTransport(raft.ServerAddress(at))
	m.all[own.LocalAddr()] = own
	for address, other := range m.all {
		own.Connect(address, other)
		other.Connect(own.LocalAddr(), own)
	}
	return stuck{own, m, held}
}

// A handover that is interrupted leaves a leader that refuses each entry, hashicorp/raft#696.
// Nobody else takes over, because it still sends heartbeats.
func TestALeaderStuckInAHandoverIsReplaced(t *testing.T) {
	m := &memory{all: make(map[raft.ServerAddress]*raft.InmemTransport)}
	var held atomic.Pointer[chan struct{}]
	g := newGroup(t, 3, func(o *Options) {
		at := o.Address
		o.transport = func() rpcs { return m.open(at, &held) }
	})
	l := g.leader()
	hold := make(chan struct{})
	held.Store(&hold)
	l.Step()
	g.eventually(func() bool { return l.Status().Rebuilt > 0 }, "it is given up")
	next := g.newLeader(nil)
	require.ErrorContains(t, errText(l.Status().Trouble), "cannot write")
	held.Store(nil)
	close(hold)
	g.eventually(func() bool { lead, ok := l.Leader(); return ok && lead.Node == next.id }, "it is a member again")
	next.Step()
	g.newLeader(next)
}

type errText string

func (e errText) Error() string { return string(e) }

// A node that lost its memory may have voted already: it votes again when the leader has
// brought it up to date.
func TestANodeWithoutMemoryDoesNotVote(t *testing.T) {
	m := &memory{all: make(map[raft.ServerAddress]*raft.InmemTransport)}
	var held atomic.Pointer[chan struct{}]
	var mute atomic.Bool
	mute.Store(true)
	g := newGate(m.open("b", &held), mute.Load)
	defer g.Close()
	a := m.open("a", &held)
	defer a.Close()
	var vote raft.RequestVoteResponse
	var pre raft.RequestPreVoteResponse
	require.ErrorIs(t, a.RequestVote("b", "b", &raft.RequestVoteRequest{Term: 7}, &vote), errMute)
	require.ErrorIs(t, a.RequestPreVote("b", "b", &raft.RequestPreVoteRequest{Term: 7}, &pre), errMute)
	mute.Store(false)
	done := make(chan error, 1)
	go func() { done <- a.RequestVote("b", "b", &raft.RequestVoteRequest{Term: 7}, &vote) }()
	select {
	case rpc := <-g.Consumer():
		rpc.Respond(&raft.RequestVoteResponse{Term: 7, Granted: true}, nil)
	case <-time.After(patience):
		t.Fatal("the request does not arrive")
	}
	require.NoError(t, <-done)
	require.True(t, vote.Granted)
}
