package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/trigger"
	shares "github.com/picloud/picloud/internal/share"
	codec "github.com/picloud/picloud/internal/value"
)

func testLogger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// TestVersions deploys new versions under load: each call gets the code of the
// handle it was made on, all in one worker, and old code leaves it.
func TestVersions(t *testing.T) {
	e := launch(t, nil)
	var mu sync.Mutex
	current := version(e, "shop", "f", "v0", 0, nil)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				mu.Lock()
				f := current
				mu.Unlock()
				if body, err := invoke(t, f, "/source"); err != nil || body != "v"+strconv.Itoa(f.Program().Version) {
					t.Errorf("version %d answered %q, %v", f.Program().Version, body, err)
				}
			}
		})
	}
	for n := 1; n <= 50; n++ {
		next := version(e, "shop", "f", fmt.Sprintf("v%d", n), n, nil)
		must(t, next, "/source")
		mu.Lock()
		current = next
		mu.Unlock()
	}
	close(done)
	wg.Wait()
	require.Equal(t, 1, e.alive())
	require.Same(t, current, version(e, "shop", "f", "v50", 50, nil), "the same program has the same handle")
	p := e.pools["shop"]
	held := 0
	for _, f := range p.slots.held {
		if f != nil {
			held++
		}
	}
	require.Equal(t, 1, held)
	require.Less(t, len(p.slots.held), 20, "slots are reused")
}

// TestManyPrograms calls more functions than a worker holds.
func TestManyPrograms(t *testing.T) {
	e := launch(t, nil)
	var functions []*Function
	for i := range maxPrograms + 40 {
		functions = append(functions, function(e, "shop", "f"+strconv.Itoa(i), nil))
	}
	for range 2 {
		for i, f := range functions {
			require.Equal(t, "f"+strconv.Itoa(i), must(t, f, "/source"))
		}
	}
	require.Len(t, e.pools["shop"].slots.held, maxPrograms)
	require.Equal(t, 1, e.alive())
}

func TestRelease(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", nil)
	g := function(e, "shop", "g", nil)
	must(t, g, "/echo")
	must(t, f, "/echo")
	f.Release()
	require.Equal(t, int32(noSlot), f.slot.Load())
	require.Equal(t, "2", must(t, g, "/loads"))
	require.Equal(t, "f", must(t, f, "/source"), "a late call still works")
	require.Equal(t, "3", must(t, g, "/loads"))
	require.Equal(t, int32(noSlot), f.slot.Load())
	require.NotSame(t, f, function(e, "shop", "f", nil))
}

func TestRetain(t *testing.T) {
	e := launch(t, nil)
	kept, dropped := function(e, "kept", "f", nil), function(e, "dropped", "f", nil)
	pid := must(t, kept, "/pid")
	must(t, dropped, "/pid")
	var wg sync.WaitGroup
	wg.Go(func() { require.Equal(t, "done", must(t, dropped, "/slow/200")) })
	eventually(t, "runs", func() bool { return e.live("dropped").busy.Load() == 1 })
	e.Retain(map[string]struct{}{"kept": {}})
	wg.Wait()
	eventually(t, "its worker ends", func() bool { return e.alive() == 1 })
	require.Equal(t, pid, must(t, kept, "/pid"))
	must(t, dropped, "/pid") // a request that found its route before
	eventually(t, "and again", func() bool { return e.alive() == 1 })
}

// TestLargerMemory replaces the worker of an app whose largest function grew.
func TestLargerMemory(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", nil)
	require.Contains(t, must(t, f, "/whoami"), strconv.Itoa(64<<20))
	var wg sync.WaitGroup
	wg.Go(func() { require.Equal(t, "done", must(t, f, "/slow/200")) })
	eventually(t, "runs", func() bool { return e.live("shop").busy.Load() == 1 })
	large := function(e, "shop", "large", func(l *picloud.Limits) { l.Memory = 128 << 20 })
	require.Contains(t, must(t, large, "/whoami"), strconv.Itoa(128<<20))
	require.Contains(t, must(t, f, "/whoami"), strconv.Itoa(128<<20))
	wg.Wait()
	eventually(t, "the old one ends", func() bool { return e.kills(causeReplaced) == 1 })
	large.Release()
	require.Contains(t, must(t, f, "/whoami"), strconv.Itoa(128<<20), "a larger one stays until it is idle")
}

// TestLoadFails invokes programs that passed compiling elsewhere and do not load.
func TestLoadFails(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.LoadTimeout = 600 * time.Millisecond })
	bad := version(e, "shop", "f", "bad", 1, nil)
	for range 2 {
		_, err := invoke(t, bad, "/echo")
		var pe *picloud.Error
		require.ErrorAs(t, err, &pe)
		require.Equal(t, picloud.CodeFunctionError, pe.Code)
		require.Equal(t, 3, pe.Script.Line)
	}
	good := function(e, "shop", "good", nil)
	must(t, good, "/echo")
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := invoke(t, good, "/slow/5000")
		require.Equal(t, picloud.CodeInterrupted, picloud.CodeOf(err))
	})
	eventually(t, "runs", func() bool { return e.live("shop").busy.Load() == 1 })
	_, err := invoke(t, version(e, "shop", "g", "hang", 1, nil), "/echo")
	require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(err), err)
	wg.Wait()
	require.Equal(t, 1, e.kills(causeLoadTimeout))
	must(t, good, "/echo")
}

func TestCompile(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.LoadTimeout = 600 * time.Millisecond })
	compile := func(source string) (picloud.Compiled, error) {
		return e.Compile(context.Background(), []byte(source), "hello")
	}
	out, err := compile("good")
	require.NoError(t, err)
	require.Equal(t, []string{"handle"}, out.Handlers)
	require.Empty(t, children(t), "the worker is gone when the answer is there")

	_, err = compile("bad")
	var pe *picloud.Error
	require.ErrorAs(t, err, &pe)
	require.Equal(t, picloud.CodeScript, pe.Code)
	require.Equal(t, &picloud.ScriptError{Line: 3, Column: 7, Message: "unexpected end", Excerpt: "let x ="}, pe.Script)
	require.Equal(t, "compile script hello: unexpected end", err.Error())
	for source, want := range map[string]picloud.Code{
		"big": picloud.CodeSourceBounds, "hang": picloud.CodeCompileBudget, "explode": picloud.CodeCompileBudget,
	} {
		_, err = compile(source)
		require.Equal(t, want, picloud.CodeOf(err), "%s: %v", source, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = e.Compile(ctx, []byte("hang"), "hello")
	require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(err), err)
	require.Equal(t, 6, e.kills(causeThrowaway)+e.kills(causeLoadTimeout)+e.kills(causeCrash))
}

// TestCompilePlaces fills both places: the third waits, and is turned away.
func TestCompilePlaces(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.LoadTimeout, o.CompileWait = 600*time.Millisecond, 50*time.Millisecond })
	var wg sync.WaitGroup
	for range maxThrowaway {
		wg.Go(func() {
			_, err := e.Compile(context.Background(), []byte("hang"), "f")
			require.Equal(t, picloud.CodeCompileBudget, picloud.CodeOf(err), err)
		})
	}
	eventually(t, "both run", func() bool { return e.alive() == maxThrowaway })
	_, err := e.Compile(context.Background(), []byte("good"), "f")
	require.Equal(t, picloud.CodeBusy, picloud.CodeOf(err), err)
	wg.Wait()
	_, err = e.Compile(context.Background(), []byte("good"), "f")
	require.NoError(t, err)
}

// TestCompilePlacesAreShared: one user who sends many slow scripts leaves a place to
// the others.
func TestCompilePlacesAreShared(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.LoadTimeout, o.CompileWait = 600*time.Millisecond, 50*time.Millisecond })
	greedy, other := shares.With(context.Background(), "greedy"), shares.With(context.Background(), "other")
	var wg sync.WaitGroup
	for range 2 * throwawayShares.Waiting {
		wg.Go(func() {
			_, err := e.Compile(greedy, []byte("hang"), "f")
			require.Contains(t, []picloud.Code{picloud.CodeCompileBudget, picloud.CodeBusy}, picloud.CodeOf(err), err)
		})
	}
	eventually(t, "one runs", func() bool { return e.alive() == 1 })
	_, err := e.Compile(other, []byte("good"), "f")
	require.NoError(t, err)
	wg.Wait()
}

func TestDraft(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.LoadTimeout = 600 * time.Millisecond })
	draft := func(source, path string) (string, []picloud.LogRecord, error) {
		r, logs, err := e.Draft(context.Background(), Program{Source: []byte(source), Limits: picloud.Limits{Timeout: picloud.Duration(100 * time.Millisecond)}},
			&Call{ID: "d1", Path: path, Trigger: trigger.Draft})
		if err != nil {
			require.Nil(t, r)
			return "", logs, err
		}
		defer r.Release()
		return string(r.Body), logs, nil
	}
	body, logs, err := draft("let x = 1", "/source")
	require.NoError(t, err)
	require.Equal(t, "let x = 1", body)
	require.Empty(t, logs)
	_, logs, err = draft("x", "/log/3")
	require.NoError(t, err)
	require.Len(t, logs, 3)
	require.Equal(t, "d1", logs[0].Invocation)
	for _, c := range []struct {
		source, path string
		want         picloud.Code
	}{
		{"bad", "/echo", picloud.CodeScript},
		{"big", "/echo", picloud.CodeSourceBounds},
		{"hang", "/echo", picloud.CodeCompileBudget},
		{"explode", "/echo", picloud.CodeCompileBudget},
		{"x", "/fail", picloud.CodeFunctionError},
		{"x", "/never", picloud.CodeFunctionTimeout},
		{"x", "/oom", picloud.CodeFunctionMemory},
		{"x", "/crash", picloud.CodeFunctionCrash},
	} {
		_, _, err := draft(c.source, c.path)
		require.Equal(t, c.want, picloud.CodeOf(err), "%v: %v", c, err)
		require.True(t, strings.HasPrefix(err.Error(), "run draft: "), err)
	}
}

// sink collects what functions log.
type sink struct {
	mu      sync.Mutex
	app     string
	records []picloud.LogRecord
}

func (s *sink) Log(app string, rec picloud.LogRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.app, s.records = app, append(s.records, rec)
}

func TestLogs(t *testing.T) {
	logs := &sink{}
	e := launch(t, func(o *testOptions) { o.Logs = logs })
	f := function(e, "shop", "f", func(l *picloud.Limits) { l.LogBytes = 80 }) // a line takes 8 bytes
	must(t, f, "/log/1000")
	require.Equal(t, "shop", logs.app)
	kept := len(logs.records) - 1 // the worker of this test keeps no limit itself
	require.Less(t, kept, (80+logLast)/8, "the rest is dropped")
	first, last := logs.records[0], logs.records[kept]
	require.WithinDuration(t, time.Now(), first.Time, time.Minute)
	first.Time = time.Time{}
	require.Equal(t, picloud.LogRecord{
		Level: "info", Message: "line", Fields: map[string]any{"i": int64(0)}, Function: "f", Version: 1, Invocation: "call-1",
	}, first)
	require.Equal(t, "warn", last.Level)
	require.Equal(t, "log limit of 80B reached, the rest of this call is dropped", last.Message)
	must(t, f, "/log/1")
	require.Len(t, logs.records, kept+2, "each call has its own limit")
}

// broker is a host that knows kv.get.
type broker struct {
	mu    sync.Mutex
	calls []HostCall
	err   error
	block bool
	panic bool
}

func (b *broker) Call(ctx context.Context, c HostCall) ([]byte, error) {
	b.mu.Lock()
	b.calls = append(b.calls, c)
	err, block, trip := b.err, b.block, b.panic
	b.mu.Unlock()
	if trip {
		panic("a fault of the host")
	}
	if block {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var get hostcall.Delete // the worker sends a key and a number
	if readErr := get.Read(c.Args); readErr != nil && err == nil {
		return nil, readErr
	}
	return codec.AppendText(codec.AppendText(codec.AppendMap(nil, 1), "key"), get.Key), err
}

func TestHostCalls(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", nil)
	require.Equal(t, "1 unknown_host_function <nil>", must(t, f, "/host/1"))
	e.Stop()

	host := &broker{}
	e = launch(t, func(o *testOptions) { o.Host = host })
	f = function(e, "shop", "f", func(l *picloud.Limits) { l.HostCalls = 2 })
	require.Equal(t, "1  map[key:k];2  map[key:k];3 host_call_limit <nil>", must(t, f, "/host/3"))
	args, _, err := hostcall.Parse(hostcall.Delete{Key: "k", Version: 1}.Append(nil))
	require.NoError(t, err)
	require.Equal(t, HostCall{"shop", "f", 1, "call-1", nil, "kv.get", args, nil, host.calls[1].memory}, host.calls[1])
	host.err = errors.New("broken")
	require.Equal(t, "1 internal <nil>", must(t, f, "/host/1"))
	host.err = fmt.Errorf("wrapped: %w", hostcall.Errorf("kv_conflict", "no"))
	require.Equal(t, "1 kv_conflict <nil>", must(t, f, "/host/1"))

	host.err, host.panic = nil, true
	require.Equal(t, "1 internal <nil>", must(t, f, "/host/1"), "the node lives on")
	host.panic = false

	// A host call ends with its call.
	host.block = true
	_, err = f.Invoke(context.Background(), &Call{Path: "/host/1", Deadline: time.Now().Add(50 * time.Millisecond)})
	require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(err))
	eventually(t, "no call left", func() bool { return e.live("shop").busy.Load() == 0 })
}
