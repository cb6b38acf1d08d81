package executor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testworker"
)

func TestTimeout(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", func(l *picloud.Limits) { l.Timeout = picloud.Duration(50 * time.Millisecond) })
	pid := must(t, f, "/pid")

	// A call that heeds its cancel leaves the worker alone.
	begun := time.Now()
	_, err := invoke(t, f, "/slow/5000")
	require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(err), err)
	require.GreaterOrEqual(t, time.Since(begun), 50*time.Millisecond)
	require.Less(t, time.Since(begun), 90*time.Millisecond+time.Second)
	require.Equal(t, pid, must(t, f, "/pid"))

	// One that answers within the grace is too late all the same.
	_, err = invoke(t, f, "/stubborn/90")
	require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(err), err)
	require.Equal(t, pid, must(t, f, "/pid"))
	require.Zero(t, e.kills(causeTimeout))

	// One that never answers costs the worker.
	_, err = invoke(t, f, "/never")
	require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(err), err)
	require.NotEqual(t, pid, must(t, f, "/pid"), "the next call gets a fresh worker")
	require.Equal(t, 1, e.kills(causeTimeout))
}

// TestOthersOfAnOverrun has a call overrun its deadline beside another one: the
// worker ends when that one is answered. One that takes too long for that is told
// what happened.
func TestOthersOfAnOverrun(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.OverrunGrace = 500 * time.Millisecond })
	f := function(e, "shop", "f", func(l *picloud.Limits) { l.Timeout = picloud.Duration(50 * time.Millisecond) })
	patient := function(e, "shop", "patient", nil)
	must(t, f, "/pid")
	pid := must(t, patient, "/pid")
	var body string
	var err error
	beside := func(path string, during func()) {
		var wg sync.WaitGroup
		wg.Go(func() { body, err = invoke(t, patient, path) })
		eventually(t, "it runs", func() bool { return e.live("shop").busy.Load() == 1 })
		_, overran := invoke(t, f, "/never")
		require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(overran), overran)
		during()
		wg.Wait()
	}
	beside("/slow/400", func() { require.NotEqual(t, pid, must(t, patient, "/pid"), "others get a fresh worker at once") })
	require.NoError(t, err)
	require.Equal(t, "done", body)
	eventually(t, "the old one ended", func() bool { return e.alive() == 1 })
	require.Equal(t, 1, e.kills(causeTimeout))

	beside("/slow/60000", func() {})
	var interrupted *picloud.Error
	require.ErrorAs(t, err, &interrupted)
	require.Equal(t, picloud.CodeInterrupted, interrupted.Code)
	require.Equal(t, "another call of the app ended the executor: it did not stop at its deadline", interrupted.Detail)
	require.Equal(t, time.Second, interrupted.RetryAfter)
	require.Equal(t, 2, e.kills(causeTimeout))

	// A second one that overruns does not wait for the first.
	beside("/slow/60000", func() {
		must(t, f, "/pid")
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = invoke(t, patient, "/slow/60000") })
		eventually(t, "it runs", func() bool { return e.live("shop").busy.Load() == 1 })
		_, overran := invoke(t, f, "/never")
		require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(overran), overran)
		eventually(t, "the older one ended", func() bool { return e.kills(causeTimeout) >= 3 })
		wg.Wait()
	})
	require.Equal(t, 4, e.kills(causeTimeout))
}

// TestOverdue calls an app of which a worker is about to be ended for a call that
// does not stop: the next call does not go down with it.
func TestOverdue(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", func(l *picloud.Limits) { l.Timeout = picloud.Duration(50 * time.Millisecond) })
	patient := function(e, "shop", "patient", nil)
	must(t, f, "/pid")
	must(t, patient, "/pid")
	for i := range 3 {
		_, err := invoke(t, f, "/never")
		require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(err), err)
		require.Equal(t, "done", must(t, patient, "/slow/150"))
		require.Equal(t, i+1, e.kills(causeTimeout))
	}
	// One that stops in time keeps its worker.
	pid := must(t, patient, "/pid")
	must(t, f, "/pid")
	_, err := invoke(t, f, "/stubborn/90")
	require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(err), err)
	require.Equal(t, pid, must(t, patient, "/pid"))
	require.Zero(t, e.live("shop").overdue.Load())
}

// TestCallerDeadline ends a call at its own deadline, before the function's.
func TestCallerDeadline(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", nil)
	must(t, f, "/pid")
	_, err := f.Invoke(context.Background(), &Call{Path: "/slow/5000", Deadline: time.Now().Add(30 * time.Millisecond)})
	require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(err))
}

// leave makes a call whose caller leaves as soon as it runs.
func leave(t *testing.T, f *Function, path string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := f.Invoke(ctx, &Call{ID: "left", Path: path})
		require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(err), err)
		require.ErrorIs(t, err, context.Canceled)
	})
	eventually(t, "it runs", f.runs)
	cancel()
	wg.Wait()
}

// runs reports whether somebody waits for a call of f in a worker.
func (f *Function) runs() bool {
	for _, w := range f.pool.live() {
		w.mu.Lock()
		yes := slices.ContainsFunc(w.table, func(fl *flight) bool { return fl != nil && fl.function == f && !fl.abandoned })
		w.mu.Unlock()
		if yes {
			return true
		}
	}
	return false
}

// TestClientGone cancels calls whose caller left. Those that heed it end. The
// deadlines of others hold: nobody else's call ends with them, their places stay
// taken, and the log says whose deadline it was.
func TestClientGone(t *testing.T) {
	logs := &sink{}
	e := launch(t, func(o *testOptions) { o.Logs, o.MaxWorkers = logs, 1 })
	f := function(e, "shop", "f", func(l *picloud.Limits) {
		l.Timeout, l.Concurrency, l.Queue = picloud.Duration(1500*time.Millisecond), 2, 1
	})
	patient := function(e, "shop", "patient", nil)
	pid := must(t, f, "/pid")
	w := e.live("shop")
	leave(t, f, "/slow/60000")
	eventually(t, "worker is idle", func() bool { return w.busy.Load() == 0 && f.idle() })
	require.Equal(t, pid, must(t, f, "/pid"))
	require.Zero(t, value(e.metrics.abandoned))

	var wg sync.WaitGroup
	wg.Go(func() { require.Equal(t, "done", must(t, patient, "/slow/400")) })
	eventually(t, "the other runs", func() bool { return w.busy.Load() == 1 })
	begun := time.Now()
	var both sync.WaitGroup // at once: none comes when the other is stuck already
	both.Go(func() { leave(t, f, "/never") })
	both.Go(func() { leave(t, f, "/never") })
	both.Wait()
	require.False(t, f.idle())
	_, err := f.Invoke(expired(t), &Call{Path: "/echo"})
	require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(err), "no place is free: %v", err)
	require.EqualValues(t, 2, value(e.metrics.abandoned))
	eventually(t, "stuck", func() bool { return w.stuck.Load() == 2 })
	wg.Wait()
	require.Equal(t, 1, e.alive())
	eventually(t, "worker is killed", func() bool { return e.kills(causeTimeout) == 1 })
	require.GreaterOrEqual(t, time.Since(begun), 1500*time.Millisecond, "at the deadline")
	eventually(t, "places are free", f.idle)
	require.Zero(t, value(e.metrics.abandoned))
	require.NotEqual(t, pid, must(t, f, "/pid"))
	logs.mu.Lock()
	defer logs.mu.Unlock()
	require.Len(t, logs.records, 1)
	require.Equal(t, "the caller had left, and the call went on after its timeout of 1.5s: its executor was ended; return earlier, or raise timeout", logs.records[0].Message)
	require.Equal(t, "left", logs.records[0].Invocation)
}

// TestStuck has calls of an app come beside a call whose caller left and that does not
// stop: they get a worker of their own, and the other one ends with its last call
// that somebody waits for. One whose stuck calls end goes on.
func TestStuck(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", nil)
	patient := function(e, "shop", "patient", nil)
	pid := must(t, patient, "/pid")
	must(t, f, "/pid")
	w := e.live("shop")
	var wg sync.WaitGroup
	wg.Go(func() { require.Equal(t, "done", must(t, patient, "/slow/400")) })
	eventually(t, "one runs", func() bool { return w.busy.Load() == 1 })
	leave(t, f, "/never")
	eventually(t, "stuck", func() bool { return w.stuck.Load() == 1 })
	eventually(t, "another worker", func() bool { return must(t, patient, "/pid") != pid })
	eventually(t, "the first takes no calls", func() bool { return !w.open.Load() })
	wg.Wait()
	eventually(t, "it ends", func() bool { return e.kills(causeAbandoned) == 1 && f.idle() })
	require.Equal(t, 1, e.alive())

	w = e.live("shop")
	pid = must(t, f, "/pid")
	wg.Go(func() { require.Equal(t, "done", must(t, patient, "/slow/1500")) })
	eventually(t, "one runs", func() bool { return w.busy.Load() == 1 })
	leave(t, f, "/stubborn/600")
	eventually(t, "stuck", func() bool { return w.stuck.Load() == 1 })
	eventually(t, "another worker", func() bool { return must(t, patient, "/pid") != pid })
	eventually(t, "the first takes no calls", func() bool { return !w.open.Load() })
	eventually(t, "and takes some again", func() bool { return w.open.Load() && must(t, patient, "/pid") == pid })
	wg.Wait()
	require.Zero(t, e.kills(causeTimeout))
}

// expired is a context that ends while a call waits for a place.
func expired(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestClientGoneAndGone takes what the worker of a call whose caller left belongs to:
// the worker does not outlive it.
func TestClientGoneAndGone(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.MemoryCap = 130 << 20 })
	never := func(app string) *Function {
		f := function(e, app, "f", nil)
		must(t, f, "/pid")
		leave(t, f, "/never")
		return f
	}
	deleted := never("deleted")
	e.Retain(map[string]struct{}{})
	eventually(t, "its worker ends", func() bool { return e.alive() == 0 && deleted.idle() })

	never("one")
	never("two") // the two take all memory
	must(t, function(e, "three", "f", nil), "/pid")
	require.Equal(t, 1, e.kills(causeEvicted))

	never("three")
	begun := time.Now()
	e.Stop()
	require.Less(t, time.Since(begun), 5*time.Second, "a stop does not wait for what nobody waits for")
}

// TestClientGoneDuringLoad leaves while the program loads: a worker that boots is
// not one that does not stop.
func TestClientGoneDuringLoad(t *testing.T) {
	e := launch(t, nil)
	during := func(f *Function, path string) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err := f.Invoke(ctx, &Call{Path: path})
		require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(err))
	}
	brief := func(l *picloud.Limits) { l.Timeout = picloud.Duration(300 * time.Millisecond) }
	f := version(e, "shop", "f", "heavy", 1, brief)
	during(f, "/slow/60000")
	require.Equal(t, "1", must(t, f, "/loads"))
	eventually(t, "idle", func() bool { return e.live("shop").busy.Load() == 0 })
	require.Zero(t, e.kills(causeTimeout))
	// Nor is it spared for ever.
	during(version(e, "shop", "g", "heavy", 1, brief), "/never")
	eventually(t, "killed", func() bool { return e.kills(causeTimeout) == 1 })
}

// TestRealClientsGone has strangers call natives that do not stop when they are told
// to, and leave: every call of others is answered.
func TestRealClientsGone(t *testing.T) {
	path := testworker.Path(t)
	e := launch(t, func(o *testOptions) { o.WorkerPath, o.WorkerArgs, o.Layers, o.MaxWorkers = path, nil, nil, 2 })
	// As many abandoned calls as a function may have at once do not fill a worker.
	few := func(l *picloud.Limits) { l.Memory, l.Concurrency = 128<<20, 4 }
	one := func(l *picloud.Limits) { l.Memory, l.Concurrency = 128<<20, 1 }
	strangers := []*Function{
		version(e, "dis", "json", `function handle(req) { return {body: {n: len(req.json())}} }`, 1, one),
		version(e, "dis", "regexp", `function handle(req) { return string(regexp.match("(a?){200}b", "a".repeat(4000000))) }`, 1, few),
	}
	sleepy := version(e, "dis", "sleepy", `function handle(req) { time.sleep("200ms"); return "slept" }`, 1, nil)
	large := []byte(`["` + strings.Repeat(strings.Repeat("x", 60)+`","`, 1<<17-100) + `"]`) // 8 MiB
	must(t, sleepy, "/")

	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		f := strangers[min(i, 1)]
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(40+n%5*20)*time.Millisecond)
				r, _ := f.Invoke(ctx, &Call{Path: "/", Body: large[:len(large)*(1-min(i, 1))]})
				r.Release()
				cancel()
			}
		})
	}
	answered := 0
	for begun := time.Now(); time.Since(begun) < 3*time.Second; answered++ {
		body, err := invoke(t, sleepy, "/")
		require.NoError(t, err)
		require.Equal(t, "slept", body)
	}
	close(done)
	wg.Wait()
	require.Positive(t, e.kills(causeAbandoned), "no native went on")
	require.Zero(t, e.kills(causeMemory))
	t.Logf("%d answered, %d executors ended for calls that nobody waited for", answered, e.kills(causeAbandoned))
}

func TestCrash(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", nil)
	for path, want := range map[string]picloud.Code{
		"/crash": picloud.CodeFunctionCrash, "/oom": picloud.CodeFunctionMemory,
		"/chatty": picloud.CodeFunctionMemory, "/close": picloud.CodeFunctionCrash,
	} {
		pid := must(t, f, "/pid")
		_, err := invoke(t, f, path)
		require.Equal(t, want, picloud.CodeOf(err), "%s: %v", path, err)
		require.NotEqual(t, pid, must(t, f, "/pid"), path)
	}
	require.Equal(t, 2, e.kills(causeMemory))
	require.Equal(t, 2, e.kills(causeCrash))
}

// TestKilledUnderLoad kills workers at random moments while many callers run:
// every call ends, and each answer is the call's own.
func TestKilledUnderLoad(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.MaxWorkers = 2 })
	f := function(e, "shop", "f", nil)
	must(t, f, "/echo")
	done := make(chan struct{})
	var answered, crashed, refused int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for c := range 32 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				id := fmt.Sprintf("%d-%d", c, n)
				body := strings.Repeat(id+" ", 1+n%7*300)
				r, err := f.Invoke(context.Background(), &Call{ID: id, Path: "/echo", Body: []byte(body)})
				mu.Lock()
				switch code := picloud.CodeOf(err); {
				case err == nil:
					answered++
					if string(r.Body) != body || r.Header[0].Value != id {
						t.Errorf("call %s got the answer of %s", id, r.Header[0].Value)
					}
				case code == picloud.CodeFunctionCrash || code == picloud.CodeExecutor:
					crashed++
				case code == picloud.CodeBreakerOpen:
					refused++
				default:
					t.Errorf("call %s: %v", id, err)
				}
				mu.Unlock()
				r.Release()
				if err != nil && picloud.CodeOf(err) == picloud.CodeBreakerOpen {
					eventually(t, "breaker closes", func() bool { _, err := invoke(t, f, "/echo"); return err == nil })
				}
			}
		})
	}
	for range 8 {
		eventually(t, "a worker works", func() bool {
			w := e.live("shop")
			return w.process != nil && w.busy.Load() > 8 && syscall.Kill(w.process.PID(), syscall.SIGKILL) == nil
		})
		mu.Lock()
		before := answered
		mu.Unlock()
		eventually(t, "calls are answered again", func() bool { mu.Lock(); defer mu.Unlock(); return answered > before+100 })
	}
	close(done)
	wg.Wait()
	require.Positive(t, crashed)
	t.Logf("%d answered, %d crashed, %d refused", answered, crashed, refused)
	require.True(t, f.idle())
}
