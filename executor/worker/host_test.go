package worker

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor"
	"github.com/picloud/picloud/executor/wire"
)

// asking is a call of a worker whose agent is the test.
func asking(t *testing.T, timeout time.Duration) (*agent, *call) {
	ours, theirs := pair(t)
	t.Cleanup(func() { _ = theirs.Close() })
	a := newAgent(t, ours)
	w := newWorker(theirs)
	p := &program{load: wire.Load{HostCalls: 3, LogBytes: 100}}
	p.ready.Store(true)
	c := newCall(w, 5, wire.NewBuffer(0))
	c.program = p
	c.begin()
	c.engine.Deadline = time.Now().Add(timeout)
	w.calls[5] = c
	return a, c
}

type answer struct {
	value []byte
	err   error
}

func (a *agent) question(c *call, name string, args []byte) (chan answer, wire.HostCall) {
	out := make(chan answer, 1)
	go func() {
		value, err := c.host.Call(name, args)
		out <- answer{value, err}
	}()
	f := a.next()
	require.Equal(a.t, wire.TypeHostCall, f.header.Type)
	require.Equal(a.t, c.id, f.header.ID)
	var q wire.HostCall
	require.NoError(a.t, q.Decode(f.payload))
	require.Equal(a.t, name, q.Name)
	return out, q
}

func (a *agent) reply(c *call, r *wire.HostReply) {
	payload := wire.AppendFrame(nil, wire.TypeHostReply, c.id, r)[wire.HeaderSize:]
	require.NoError(a.t, c.worker.receive(wire.Header{Type: wire.TypeHostReply, ID: c.id}, payload, nil))
	clear(payload) // the frame's memory is used again
}

func TestHostCalls(t *testing.T) {
	a, c := asking(t, 10*time.Second)
	args, err := wire.Marshal([]any{"key"})
	require.NoError(t, err)

	out, q := a.question(c, "kv.get", args)
	require.Equal(t, args, q.Args)
	a.reply(c, &wire.HostReply{Seq: q.Seq + 7, Value: []byte("stray")})
	a.reply(c, &wire.HostReply{Seq: q.Seq, Value: args})
	got := <-out
	require.NoError(t, got.err)
	require.Equal(t, args, got.value)

	out, q = a.question(c, "kv.set", nil)
	require.EqualValues(t, 2, q.Seq)
	a.reply(c, &wire.HostReply{Seq: q.Seq, Code: "kv_quota", Message: "full"})
	require.Equal(t, &hostcall.Error{Code: "kv_quota", Message: "full"}, (<-out).err)

	out, q = a.question(c, "kv.get", nil)
	require.EqualValues(t, 3, q.Seq)
	a.reply(c, &wire.HostReply{Seq: 3})
	require.Equal(t, answer{value: nil}, <-out)
	_, err = c.host.Call("kv.get", nil)
	var limit *hostcall.Error
	require.ErrorAs(t, err, &limit)
	require.Equal(t, "host_call_limit", limit.Code)
}

func TestHostCallEndsWithItsCall(t *testing.T) {
	t.Run("cancel", func(t *testing.T) {
		a, c := asking(t, 10*time.Second)
		out, _ := a.question(c, "http.fetch", nil)
		require.NoError(t, c.worker.receive(wire.Header{Type: wire.TypeCancel, ID: c.id}, nil, nil))
		require.Equal(t, errHalted, (<-out).err)
		_, err := c.host.Call("http.fetch", nil)
		require.Equal(t, errHalted, err)
	})
	t.Run("deadline", func(t *testing.T) {
		a, c := asking(t, 50*time.Millisecond)
		out, _ := a.question(c, "http.fetch", nil)
		require.Equal(t, errHalted, (<-out).err)
	})
	t.Run("agent gone", func(t *testing.T) {
		a, c := asking(t, 10*time.Second)
		out, _ := a.question(c, "http.fetch", nil)
		c.worker.close(nil)
		require.Equal(t, errHalted, (<-out).err)
	})
	t.Run("nothing is left for the next call", func(t *testing.T) {
		a, c := asking(t, 50*time.Millisecond)
		out, q := a.question(c, "http.fetch", nil)
		<-out
		a.reply(c, &wire.HostReply{Seq: q.Seq, Value: []byte("late")})
		a.reply(c, &wire.HostReply{Seq: q.Seq, Value: []byte("twice")})
		c.halt()
		c.host.end()
		require.Empty(t, c.host.replies)
		require.Empty(t, c.host.woken)
		require.Zero(t, c.host.asked)
	})
}

// A call that waits for the agent holds up no other.
func TestWaitingHoldsUpNobody(t *testing.T) {
	a, c := asking(t, 10*time.Second)
	out, q := a.question(c, "kv.get", nil)
	var done atomic.Bool
	go func() { <-out; done.Store(true) }()
	other := newCall(c.worker, 6, wire.NewBuffer(0))
	compiled, err := risor.Compile([]byte(hello))
	require.NoError(t, err)
	other.program = &program{compiled: compiled, load: wire.Load{ResponseBody: 1000}}
	other.program.ready.Store(true)
	other.request = wire.Invocation{Trigger: []byte("http"), Timeout: time.Second}
	other.begin()
	other.run()
	require.Equal(t, wire.TypeResult, a.next().header.Type)
	require.False(t, done.Load())
	a.reply(c, &wire.HostReply{Seq: q.Seq})
	require.Eventually(t, done.Load, 5*time.Second, time.Millisecond)
}

func TestTopLevelHasNoHost(t *testing.T) {
	_, err := silent{}.Call("kv.get", nil)
	require.ErrorContains(t, err, "works in a handler only")
}
