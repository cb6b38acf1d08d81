package executor

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/internal/budget"
	codec "github.com/picloud/picloud/internal/value"
)

// gated is a host that answers when it is told to.
type gated struct{ open chan struct{} }

func (g *gated) Call(ctx context.Context, _ HostCall) ([]byte, error) {
	select {
	case <-g.open:
		return codec.AppendInt(nil, 1), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestHostWait has calls wait for the host: they take no processor, so they make
// no worker look slow and start no other one, but they do keep their places.
func TestHostWait(t *testing.T) {
	host := &gated{open: make(chan struct{})}
	e := launch(t, func(o *testOptions) { o.Host, o.MaxWorkers = host, 3 })
	f := function(e, "shop", "f", func(l *picloud.Limits) { l.Concurrency, l.Queue = 8, 1 })
	quick := function(e, "shop", "quick", nil)
	must(t, quick, "/echo")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if body, err := invoke(t, f, "/host/1"); err != nil || body != "1  1" {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	w := e.live("shop")
	eventually(t, "all wait", func() bool { return w.waiting.Load() == 8 })
	require.Zero(t, w.running())
	require.Equal(t, int32(8), w.busy.Load())
	ctx, leave := context.WithCancel(context.Background())
	wg.Go(func() {
		_, err := f.Invoke(ctx, &Call{Path: "/echo"})
		if picloud.CodeOf(err) != picloud.CodeCancelled {
			t.Error(err)
		}
	})
	eventually(t, "one is in the queue", func() bool { f.gate.mu.Lock(); defer f.gate.mu.Unlock(); return f.gate.queue.Len() == 1 })
	_, err := invoke(t, f, "/echo")
	require.Equal(t, picloud.CodeQueueFull, picloud.CodeOf(err), err)
	leave()
	require.Never(t, func() bool {
		must(t, quick, "/echo")
		return e.alive() > 1 || w.running() > 0 && w.wait(e.now(), w.running()) > scaleAfter
	}, 200*time.Millisecond, 20*time.Millisecond)
	close(host.open)
	wg.Wait()
	require.Zero(t, w.waiting.Load())
	eventually(t, "nothing is left", func() bool { return w.busy.Load() == 0 }) // the probe of Never may be under way
	require.Zero(t, w.consulting.Load())
	require.Zero(t, e.hosts.Load())
	require.Zero(t, e.opts.Memory.Used())
}

// TestHostUnawaited answers a call whose host call is still under way.
func TestHostUnawaited(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.Host = &gated{open: make(chan struct{})} })
	f := function(e, "shop", "f", nil)
	pid := must(t, f, "/pid")
	for range 50 {
		require.Equal(t, "on", must(t, f, "/ask-on"))
	}
	w := e.live("shop")
	eventually(t, "the host calls end with their calls", func() bool { return w.consulting.Load() == 0 })
	require.Zero(t, w.waiting.Load())
	require.Equal(t, pid, must(t, f, "/pid"))
}

// redirecting is a host whose fetches take some more outbound calls.
type redirecting int

func (r redirecting) Call(_ context.Context, c HostCall) ([]byte, error) {
	for range r {
		if err := c.Outbound(); err != nil {
			return nil, err
		}
	}
	return codec.AppendText(nil, "ok"), nil
}

func TestOutboundCalls(t *testing.T) {
	run := func(redirects int, path string) string {
		e := launch(t, func(o *testOptions) { o.Host = redirecting(redirects) })
		defer e.Stop()
		f := function(e, "shop", "f", func(l *picloud.Limits) { l.OutboundCalls = 3 })
		first := must(t, f, path)
		require.Equal(t, first, must(t, f, path), "each call has its own")
		return first
	}
	require.Equal(t, "1  ok;2  ok;3  ok;4 outbound_call_limit <nil>", run(0, "/fetch/4"))
	require.Equal(t, "1  ok;2 outbound_call_limit <nil>", run(1, "/fetch/2"))
	require.Equal(t, "1 outbound_call_limit <nil>", run(3, "/fetch/1"))
	require.Equal(t, 9, strings.Count(run(0, "/host/9"), "ok"), "others do not count")
	require.NoError(t, HostCall{}.Outbound())
}

// TestHostMemory asks with more arguments than the node has room for.
func TestHostMemory(t *testing.T) {
	host := &gated{open: make(chan struct{})}
	e := launch(t, func(o *testOptions) { o.Host, o.Memory = host, budget.New(94_000_000) })
	f := function(e, "shop", "f", nil)
	pid := must(t, f, "/pid")
	require.Equal(t, "1 host_busy <nil>", must(t, f, "/ask-much/0"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if body, err := invoke(t, f, "/ask-much/15000000"); err != nil || body != "1  1" {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	eventually(t, "four wait", func() bool { return e.live("shop").consulting.Load() == 4 })
	require.Equal(t, "1 host_busy <nil>", must(t, f, "/ask-much/15000000"))
	close(host.open)
	wg.Wait()
	eventually(t, "nothing is held", func() bool { return e.hosts.Load() == 0 && e.opts.Memory.Used() == 0 })
	require.Equal(t, pid, must(t, f, "/pid"))
}

// A panic of a host function is an error of one call, and not the end of the node.
func TestAHostFunctionMayPanic(t *testing.T) {
	e := &Executor{opts: Options{Host: &broker{panic: true}}}
	answer, err := e.consult(t.Context(), HostCall{Name: "kv.get"})
	require.Nil(t, answer)
	require.ErrorContains(t, err, "a fault of the host")
	require.ErrorContains(t, err, "program_test.go", "the log says where")
	var known *hostcall.Error
	require.NotErrorAs(t, err, &known, "scripts are told nothing of it")
}
