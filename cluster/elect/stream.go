package elect

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/picloud/picloud/internal/service"
)

// Stream carries what the nodes' Rafts say to each other. It is the caller's: the cluster
// port with its certificates, or plain TCP in a test.
type Stream interface {
	net.Listener
	// Dial connects to the Raft of the node at an address.
	Dial(address string, timeout time.Duration) (net.Conn, error)
}

// maxConns bounds the connections that others opened to this node's Raft: each voter and
// standby keeps a few.
const maxConns = 64

// wire is the Stream of all the Rafts that a node has one after the other. A transport of
// Raft closes its listener when it ends; the caller's has to outlive it.
type wire struct {
	stream Stream
	conns  chan net.Conn
	task   *service.Task
}

func newWire(stream Stream) *wire {
	w := &wire{stream: stream, conns: make(chan net.Conn)}
	w.task = service.Go(context.Background(), w.accept)
	return w
}

// accept takes connections until the caller's listener is closed.
func (w *wire) accept(ctx context.Context) {
	for {
		conn, err := w.stream.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || !pause(ctx, 50*time.Millisecond) {
				return
			}
			continue
		}
		select {
		case w.conns <- conn:
		case <-time.After(time.Second): // there is no Raft at present
			_ = conn.Close()
		case <-ctx.Done():
			_ = conn.Close()
			return
		}
	}
}

// stop closes the caller's listener.
func (w *wire) stop() {
	_ = w.stream.Close()
	w.task.Stop()
}

// layer is the wire for one Raft. It implements raft.StreamLayer. Closing it closes its
// connections, so that a peer that stalls holds nothing up.
type layer struct {
	wire *wire
	done chan struct{}

	mu     sync.Mutex
	conns  map[*link]bool // true: opened by another node
	theirs int
	closed bool
}

func (w *wire) layer() *layer {
	return &layer{wire: w, done: make(chan struct{}), conns: make(map[*link]bool)}
}

// Accept implements net.Listener.
func (l *layer) Accept() (net.Conn, error) {
	for {
		select {
		case conn := <-l.wire.conns:
			if kept, err := l.keep(conn, true); err == nil {
				return kept, nil
			}
		case <-l.done:
			return nil, net.ErrClosed
		}
	}
}

// Dial implements raft.StreamLayer.
func (l *layer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	conn, err := l.wire.stream.Dial(string(address), timeout)
	if err != nil {
		return nil, err
	}
	return l.keep(conn, false)
}

func (l *layer) keep(conn net.Conn, theirs bool) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || theirs && l.theirs >= maxConns {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	kept := &link{Conn: conn, layer: l}
	l.conns[kept] = theirs
	if theirs {
		l.theirs++
	}
	return kept, nil
}

// Close implements net.Listener.
func (l *layer) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	close(l.done)
	open := l.conns
	l.conns = nil
	l.mu.Unlock()
	for c := range open {
		_ = c.Conn.Close()
	}
	return nil
}

// Addr implements net.Listener.
func (l *layer) Addr() net.Addr { return l.wire.stream.Addr() }

// link is a connection that its layer knows.
type link struct {
	net.Conn
	layer *layer
}

// Close implements net.Conn.
func (c *link) Close() error {
	l := c.layer
	l.mu.Lock()
	if theirs, ok := l.conns[c]; ok {
		delete(l.conns, c)
		if theirs {
			l.theirs--
		}
	}
	l.mu.Unlock()
	return c.Conn.Close()
}

// rpcs is what a transport of Raft does.
type rpcs interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// gate is a transport whose requests pass the elector on their way to Raft. It can tell
// Raft to stand for election at once, and it keeps a node that lost its memory from
// voting: the node may have voted in this term already.
type gate struct {
	rpcs
	out  chan raft.RPC
	task *service.Task
	mute func() bool
}

func newGate(t rpcs, mute func() bool) *gate {
	g := &gate{rpcs: t, out: make(chan raft.RPC), mute: mute}
	g.task = service.Go(context.Background(), g.pass)
	return g
}

var errMute = errors.New("this node lost its votes and waits for the leader")

func (g *gate) pass(ctx context.Context) {
	in := g.rpcs.Consumer()
	for {
		select {
		case rpc := <-in:
			switch rpc.Command.(type) {
			case *raft.RequestVoteRequest, *raft.RequestPreVoteRequest:
				if g.mute() {
					rpc.Respond(nil, errMute)
					continue
				}
			case *raft.InstallSnapshotRequest:
				rpc.Reader = io.LimitReader(rpc.Reader, 1<<20)
			}
			if !g.give(ctx, rpc) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (g *gate) give(ctx context.Context, rpc raft.RPC) bool {
	select {
	case g.out <- rpc:
		return true
	case <-ctx.Done():
		return false
	}
}

// Consumer implements raft.Transport.
func (g *gate) Consumer() <-chan raft.RPC { return g.out }

// Close implements raft.WithClose.
func (g *gate) Close() error {
	g.task.Stop()
	return g.rpcs.Close()
}

// stand lets Raft stand for election at once, without the wait for a leader that cannot
// exist: the node is the only voter.
func (g *gate) stand(ctx context.Context, node string) {
	answer := make(chan raft.RPCResponse, 1)
	g.give(ctx, raft.RPC{
		Command:  &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(node)}},
		RespChan: answer,
	})
}
