package executor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// value reads a metric.
func value(m prometheus.Metric) float64 {
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		panic(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// launch runs an executor whose workers are actors, and stops it with the test.
func launch(t *testing.T, change func(*Options)) *Executor {
	opts := Options{
		WorkerPath: self(t), WorkerArgs: []string{actorArg}, Layers: []string{}, MemoryCap: 1 << 30, MaxWorkers: 1,
		Logger: testLogger(t),
	}
	if change != nil {
		change(&opts)
	}
	e, err := New(opts)
	require.NoError(t, err)
	require.NoError(t, e.Start(context.Background()))
	t.Cleanup(func() {
		e.Stop()
		require.Empty(t, e.workers)
		require.Zero(t, e.budget.used)
		require.Zero(t, value(e.metrics.workers))
		require.Zero(t, value(e.metrics.memory))
		require.Empty(t, children(t), "processes left")
	})
	return e
}

// children lists the processes that this one started and that live or wait to be reaped.
func children(t *testing.T) []string {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return nil
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	var out []string
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			out = append(out, string(b))
		}
	}
	return out
}

func limits(change func(*picloud.Limits)) picloud.Limits {
	l := picloud.DefaultLimits()
	if change != nil {
		change(&l)
	}
	return l
}

// function is a handle of app/name whose source is its name.
func function(e *Executor, app, name string, change func(*picloud.Limits)) *Function {
	return version(e, app, name, name, 1, change)
}

func version(e *Executor, app, name, source string, number int, change func(*picloud.Limits)) *Function {
	return e.Function(Program{
		App: app, Function: name, Version: number, Source: []byte(source),
		Digest: picloud.DigestOf([]byte(source)), Limits: limits(change),
	})
}

// invoke calls f with a path and returns the body.
func invoke(t testing.TB, f *Function, path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := f.Invoke(ctx, &Call{ID: "call-1", Method: "GET", Path: path})
	if err != nil {
		require.Nil(t, r)
		return "", err
	}
	defer r.Release()
	return string(r.Body), nil
}

func must(t testing.TB, f *Function, path string) string {
	body, err := invoke(t, f, path)
	require.NoError(t, err)
	return body
}

func eventually(t *testing.T, what string, cond func() bool) {
	require.Eventually(t, cond, patience, 2*time.Millisecond, what)
}

func (e *Executor) alive() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.workers)
}

// kills is how many workers ended for the cause.
func (e *Executor) kills(c cause) int {
	return int(value(e.metrics.ends.WithLabelValues(c.String())))
}

func TestCall(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "hello", nil)
	require.Zero(t, e.alive(), "a handle starts nothing")
	r, err := f.Invoke(context.Background(), &Call{
		ID: "abc", Path: "/echo", Body: []byte("body"), Header: http.Header{"X-Echo": {"é\tb"}}, Deadline: time.Now().Add(time.Hour),
	})
	require.NoError(t, err)
	require.Equal(t, 200, r.Status)
	require.Equal(t, "body", string(r.Body))
	require.Equal(t, []HeaderField{{"X-Id", "abc"}, {"X-Echo", "é\tb"}}, r.Header)
	r.Release()

	require.Len(t, must(t, f, "/size/3000000"), 3_000_000)
	_, err = invoke(t, f, "/fail")
	var pe *picloud.Error
	require.ErrorAs(t, err, &pe)
	require.Equal(t, picloud.CodeFunctionError, pe.Code)
	require.Equal(t, "call function shop/hello: boom\uFFFD", err.Error())
	require.Equal(t, &picloud.ScriptError{Line: 4, Column: 2, Message: "boom\uFFFD", Excerpt: "boom()"}, pe.Script)
	require.Equal(t, 1, e.alive())
}

// TestWorkerIsolation looks at the process from within: no environment but the
// runtime's, and as root a uid of its own per app.
func TestWorkerIsolation(t *testing.T) {
	t.Setenv("PICLOUD_SECRET", "x")
	e := launch(t, nil)
	a, b := function(e, "a", "f", nil), function(e, "b", "f", func(l *picloud.Limits) { l.Memory = 32 << 20 })
	wantA, wantB := fmt.Sprintln(os.Getuid(), os.Getgid(), 4, 64<<20), fmt.Sprintln(os.Getuid(), os.Getgid(), 4, 32<<20)
	if os.Geteuid() == 0 {
		wantA, wantB = fmt.Sprintln(70000, 70000, 4, 64<<20), fmt.Sprintln(70001, 70001, 4, 32<<20)
	}
	require.Equal(t, wantA, must(t, a, "/whoami"))
	require.Equal(t, wantB, must(t, b, "/whoami"))
	require.Equal(t, wantA, must(t, a, "/whoami"))
}

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

	// One that never answers costs the worker; its neighbour gets a typed error.
	neighbour := make(chan error, 1)
	patient := function(e, "shop", "patient", nil)
	go func() {
		_, err := invoke(t, patient, "/slow/5000")
		neighbour <- err
	}()
	eventually(t, "neighbour runs", func() bool { return e.live("shop").busy.Load() == 1 })
	_, err = invoke(t, f, "/never")
	require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(err), err)
	require.Equal(t, picloud.CodeFunctionCrash, picloud.CodeOf(<-neighbour))
	require.NotEqual(t, pid, must(t, f, "/pid"), "the next call gets a fresh worker")
	require.Equal(t, 1, e.kills(causeTimeout))
}

// live is the only worker of an app.
func (e *Executor) live(app string) *worker {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.pools[app]; p != nil && len(p.live()) > 0 {
		return p.live()[0]
	}
	return newWorker(e, app, 0)
}

// TestCallerDeadline ends a call at its own deadline, before the function's.
func TestCallerDeadline(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", nil)
	must(t, f, "/pid")
	_, err := f.Invoke(context.Background(), &Call{Path: "/slow/5000", Deadline: time.Now().Add(30 * time.Millisecond)})
	require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(err))
}

// TestClientGone cancels calls whose caller left: those that heed it end, others
// cost the worker.
func TestClientGone(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", nil)
	pid := must(t, f, "/pid")
	leave := func(path string) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(20*time.Millisecond, cancel)
		_, err := f.Invoke(ctx, &Call{Path: path})
		require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(err))
		require.ErrorIs(t, err, context.Canceled)
	}
	leave("/slow/60000")
	eventually(t, "worker is idle", func() bool { return e.live("shop").busy.Load() == 0 })
	require.Equal(t, pid, must(t, f, "/pid"))
	leave("/never")
	eventually(t, "worker is killed", func() bool { return e.kills(causeTimeout) == 1 })
	require.NotEqual(t, pid, must(t, f, "/pid"))
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

// TestHostile has a worker break the protocol in every way. Each ends that
// worker with a typed error, and leaves another app's calls alone.
func TestHostile(t *testing.T) {
	protocol := []string{
		"forge", "forge-generation", "wrong-side", "wrong-slot", "second-hello", "garbage", "huge",
		"over-limit", "bad-cbor", "bad-headers", "log-flood", "host-flood",
	}
	for _, command := range protocol {
		t.Run(command, func(t *testing.T) {
			e := launch(t, nil)
			f, neighbour := function(e, "bad", "f", nil), function(e, "good", "f", nil)
			pid := must(t, neighbour, "/pid")
			_, err := invoke(t, f, "/"+command)
			require.Equal(t, picloud.CodeFunctionCrash, picloud.CodeOf(err), err)
			eventually(t, "killed", func() bool { return e.kills(causeProtocol) == 1 })
			require.Equal(t, "f", must(t, f, "/source"))
			require.Equal(t, pid, must(t, neighbour, "/pid"))
		})
	}
	t.Run("twice", func(t *testing.T) {
		e := launch(t, nil)
		f := function(e, "bad", "f", nil)
		require.Equal(t, "forged", must(t, f, "/twice")) // its own answer, and nobody else's
		eventually(t, "killed", func() bool { return e.kills(causeProtocol) == 1 })
		require.Equal(t, "f", must(t, f, "/source"))
	})
	t.Run("truncated", func(t *testing.T) {
		e := launch(t, nil)
		_, err := invoke(t, function(e, "bad", "f", nil), "/truncated")
		require.Equal(t, picloud.CodeFunctionCrash, picloud.CodeOf(err))
	})
	for _, command := range []string{"half", "deaf"} { // the deadline ends these
		t.Run(command, func(t *testing.T) {
			e := launch(t, nil)
			f := function(e, "bad", "f", func(l *picloud.Limits) { l.Timeout = picloud.Duration(50 * time.Millisecond) })
			must(t, f, "/pid")
			_, err := invoke(t, f, "/"+command)
			require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(err))
			eventually(t, "killed", func() bool { return e.kills(causeTimeout) == 1 })
			require.Equal(t, "f", must(t, f, "/source"))
		})
	}
	for command, want := range map[string]picloud.Code{
		"inject": picloud.CodeFunctionResponse, "bad-status": picloud.CodeFunctionResponse, "size/8388609": picloud.CodeResponseTooLarge,
	} {
		t.Run(strings.Split(command, "/")[0], func(t *testing.T) {
			e := launch(t, nil)
			f := function(e, "bad", "f", nil)
			_, err := invoke(t, f, "/"+command)
			require.Equal(t, want, picloud.CodeOf(err), err)
			require.Equal(t, "1", must(t, f, "/loads"), "the worker lives on")
		})
	}
}

// TestDeafWorkerUnderLoad fills the socket of a worker that reads nothing: the
// callers end at their deadlines, and the memory that waits is bounded.
func TestDeafWorkerUnderLoad(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "bad", "f", func(l *picloud.Limits) { l.Timeout = picloud.Duration(200 * time.Millisecond) })
	must(t, f, "/pid")
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = invoke(t, f, "/deaf") })
	body := make([]byte, 100<<10)
	for range 31 {
		wg.Go(func() {
			_, err := f.Invoke(context.Background(), &Call{Path: "/never", Body: body})
			if code := picloud.CodeOf(err); code != picloud.CodeFunctionTimeout && code != picloud.CodeFunctionCrash {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, "f", must(t, f, "/source"))
}

func TestStartFailures(t *testing.T) {
	try := func(name string, want picloud.Code, change func(*Options)) {
		t.Run(name, func(t *testing.T) {
			e := launch(t, change)
			_, err := invoke(t, function(e, "shop", "f", nil), "/pid")
			if want == "" {
				require.NoError(t, err)
				return
			}
			require.Equal(t, want, picloud.CodeOf(err), err)
			require.Equal(t, 1, e.kills(causeSandbox)+e.kills(causeLoadTimeout))
		})
	}
	try("dies", picloud.CodeExecutor, func(o *Options) { o.WorkerArgs = append(o.WorkerArgs, "die") })
	try("other version", picloud.CodeExecutor, func(o *Options) { o.WorkerArgs = append(o.WorkerArgs, "old") })
	try("layer missing", picloud.CodeExecutor, func(o *Options) { o.Layers = []string{"seccomp"} })
	try("layer there", "", func(o *Options) { o.Layers = []string{"pretended"} })
	try("silent", picloud.CodeFunctionTimeout, func(o *Options) {
		o.WorkerArgs = append(o.WorkerArgs, "silent")
		o.LoadTimeout = 50 * time.Millisecond
	})

	broken, err := New(Options{WorkerPath: filepath.Join(t.TempDir(), "none")})
	require.NoError(t, err)
	require.Equal(t, picloud.CodeExecutor, picloud.CodeOf(broken.Start(context.Background())))
	broken.Stop()
	_, err = New(Options{MemoryCap: 1})
	require.ErrorIs(t, err, picloud.ErrInvalid)
}

// TestUnexecutable starts a file that is no program for the system.
func TestUnexecutable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "worker")
	require.NoError(t, os.WriteFile(path, []byte("not a program"), 0o755))
	e := launch(t, func(o *Options) { o.WorkerPath = path })
	f := function(e, "shop", "f", nil)
	for range breakerCrashes {
		_, err := invoke(t, f, "/pid")
		require.Equal(t, picloud.CodeExecutor, picloud.CodeOf(err), err)
		require.ErrorContains(t, err, path)
	}
	_, err := invoke(t, f, "/pid")
	require.Equal(t, picloud.CodeBreakerOpen, picloud.CodeOf(err), err)
}

// TestUnreachableWorker executes a program below a folder that no other user may
// enter.
func TestUnreachableWorker(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to have another uid for workers")
	}
	dir := filepath.Join(t.TempDir(), "private")
	require.NoError(t, os.Mkdir(dir, 0o700))
	binary, err := os.ReadFile(self(t))
	require.NoError(t, err)
	path := filepath.Join(dir, "worker")
	require.NoError(t, os.WriteFile(path, binary, 0o755))
	e := launch(t, func(o *Options) { o.WorkerPath = path })
	require.NoError(t, os.Remove(path)) // nor does a removed file matter
	require.Contains(t, must(t, function(e, "shop", "f", nil), "/whoami"), "70000 70000")
}

func TestBreaker(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", nil)
	for range breakerCrashes {
		_, err := invoke(t, f, "/crash")
		require.Equal(t, picloud.CodeFunctionCrash, picloud.CodeOf(err), err)
	}
	_, err := invoke(t, f, "/echo")
	var pe *picloud.Error
	require.ErrorAs(t, err, &pe)
	require.Equal(t, picloud.CodeBreakerOpen, pe.Code)
	require.Positive(t, pe.RetryAfter)
	require.LessOrEqual(t, pe.RetryAfter, time.Second)
	must(t, function(e, "other", "f", nil), "/echo")
	eventually(t, "closes after a while", func() bool {
		_, err := invoke(t, f, "/echo")
		return err == nil
	})
	_, err = invoke(t, f, "/crash")
	require.Equal(t, picloud.CodeFunctionCrash, picloud.CodeOf(err), err)
	must(t, f, "/echo") // one crash after it closed is one crash
}

func TestBreakerBackoff(t *testing.T) {
	var b breaker
	now := int64(time.Second)
	for i := range breakerCrashes {
		_, ok := b.allow(now)
		require.True(t, ok, i)
		b.crash(now)
	}
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		wait, ok := b.allow(now)
		require.False(t, ok)
		require.Equal(t, int64(pause*time.Second), wait)
		now += wait
		_, ok = b.allow(now)
		require.True(t, ok, "one probe")
		_, ok = b.allow(now)
		require.False(t, ok, "only one")
		b.crash(now)
	}
	now += breakerLongest
	_, ok := b.allow(now)
	require.True(t, ok)
	require.True(t, b.answered())
	b.close()
	for range 3 {
		_, ok = b.allow(now)
		require.True(t, ok)
	}
	// Crashes that are far apart do not open it.
	for range 20 {
		now += breakerWindow / 3
		b.crash(now)
		_, ok = b.allow(now)
		require.True(t, ok)
	}
}

func TestQueue(t *testing.T) {
	e := launch(t, func(o *Options) { o.QueueTimeout = 300 * time.Millisecond })
	f := function(e, "shop", "f", func(l *picloud.Limits) { l.Concurrency, l.Queue = 2, 2 })
	must(t, f, "/pid")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	call := func(ctx context.Context, path string, out *error) {
		wg.Go(func() {
			r, err := f.Invoke(ctx, &Call{Path: path})
			*out = err
			r.Release()
		})
	}
	errs := make([]error, 4)
	call(ctx, "/slow/60000", &errs[0])
	call(ctx, "/slow/60000", &errs[1])
	eventually(t, "two run", func() bool { return e.live("shop").busy.Load() == 2 })
	call(ctx, "/echo", &errs[2])
	gone, leave := context.WithCancel(context.Background())
	call(gone, "/echo", &errs[3])
	waiting := func(n int) func() bool {
		return func() bool { f.gate.mu.Lock(); defer f.gate.mu.Unlock(); return f.gate.queue.Len() == n }
	}
	eventually(t, "two wait", waiting(2))
	_, err := invoke(t, f, "/echo")
	var pe *picloud.Error
	require.ErrorAs(t, err, &pe)
	require.Equal(t, picloud.CodeQueueFull, pe.Code)
	require.Positive(t, pe.RetryAfter)
	leave()
	eventually(t, "a waiter may leave", waiting(1))
	eventually(t, "or waits too long", waiting(0))
	cancel()
	wg.Wait()
	require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(errs[0]))
	require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(errs[1]))
	require.Equal(t, picloud.CodeQueueFull, picloud.CodeOf(errs[2]))
	require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(errs[3]))
	require.True(t, f.gate.idle())
	must(t, f, "/echo")
}

// TestQueueOrder runs many callers through one place.
func TestQueueOrder(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", func(l *picloud.Limits) { l.Concurrency, l.Queue = 1, 100 })
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if i%3 == 0 {
				time.AfterFunc(time.Duration(i)*50*time.Microsecond, cancel)
			}
			r, err := f.Invoke(ctx, &Call{Path: "/echo"})
			if err != nil && picloud.CodeOf(err) != picloud.CodeCancelled {
				t.Error(err)
			}
			r.Release()
		})
	}
	wg.Wait()
	require.True(t, f.gate.idle())
	require.Zero(t, f.gate.queue.Len())
}

func TestIdleReaping(t *testing.T) {
	e := launch(t, func(o *Options) { o.IdleTimeout = 50 * time.Millisecond })
	f := function(e, "shop", "f", nil)
	pid := must(t, f, "/pid")
	require.Equal(t, "done", must(t, f, "/slow/200"), "a busy worker is not idle")
	eventually(t, "no worker", func() bool { return e.alive() == 0 })
	require.Empty(t, children(t))
	require.Equal(t, 1, e.kills(causeIdle))
	require.Equal(t, int64(never), e.watch.armed.Load(), "an idle executor has no timer")
	require.NotEqual(t, pid, must(t, f, "/pid"))
}

func TestMemoryCap(t *testing.T) {
	e := launch(t, func(o *Options) { o.MemoryCap = 150 << 20 }) // two workers of 64 MiB
	a, b, c := function(e, "a", "f", nil), function(e, "b", "f", nil), function(e, "c", "f", nil)
	pidA, pidB := must(t, a, "/pid"), must(t, b, "/pid")
	require.Equal(t, pidA, must(t, a, "/pid"))
	pidC := must(t, c, "/pid") // evicts b, which was idle longer
	require.Equal(t, 1, e.kills(causeEvicted))
	require.Equal(t, pidA, must(t, a, "/pid"))
	require.Equal(t, pidC, must(t, c, "/pid"))
	require.NotEqual(t, pidB, must(t, b, "/pid"))

	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for _, f := range []*Function{a, b} {
		wg.Go(func() {
			_, err := f.Invoke(ctx, &Call{Path: "/slow/60000"})
			require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(err))
		})
	}
	eventually(t, "both busy", func() bool { return e.live("a").busy.Load() == 1 && e.live("b").busy.Load() == 1 })
	_, err := invoke(t, c, "/pid")
	require.Equal(t, picloud.CodeNoMemory, picloud.CodeOf(err), err)
	cancel()
	wg.Wait()
	eventually(t, "room again", func() bool { _, err := invoke(t, c, "/pid"); return err == nil })
	_, err = invoke(t, function(e, "d", "f", func(l *picloud.Limits) { l.Memory = 1 << 30 }), "/pid")
	require.Equal(t, picloud.CodeNoMemory, picloud.CodeOf(err), err)
}

// TestManyAppsOverTheCap has more apps call at once than fit: each call is
// answered or refused with a typed error, and none is lost.
func TestManyAppsOverTheCap(t *testing.T) {
	e := launch(t, func(o *Options) { o.MemoryCap = 200 << 20 })
	var wg sync.WaitGroup
	for i := range 12 {
		f := function(e, fmt.Sprintf("app%d", i), "f"+strconv.Itoa(i), nil)
		wg.Go(func() {
			for range 10 {
				body, err := invoke(t, f, "/source")
				if err == nil && body != "f"+strconv.Itoa(i) || err != nil && picloud.CodeOf(err) != picloud.CodeNoMemory {
					t.Errorf("app %d: %q, %v", i, body, err)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, e.alive(), 3)
}

func TestStopWithCallsInFlight(t *testing.T) {
	e := launch(t, func(o *Options) { o.DrainTimeout = 400 * time.Millisecond })
	f := function(e, "shop", "f", nil)
	must(t, f, "/pid")
	var short, long error
	var wg sync.WaitGroup
	wg.Go(func() { _, short = invoke(t, f, "/slow/200") })
	wg.Go(func() { _, long = invoke(t, f, "/slow/60000") })
	eventually(t, "both run", func() bool { return e.live("shop").busy.Load() == 2 })
	stopped := make(chan struct{})
	go func() { e.Stop(); close(stopped) }()
	eventually(t, "draining", func() bool { return state(e.state.Load()) == stateDraining })
	_, err := invoke(t, f, "/echo")
	require.Equal(t, picloud.CodeDraining, picloud.CodeOf(err))
	<-stopped
	wg.Wait()
	require.NoError(t, short)
	require.Equal(t, picloud.CodeDraining, picloud.CodeOf(long), long)
	require.Empty(t, children(t))
	_, err = e.Compile(context.Background(), nil, "f")
	require.Equal(t, picloud.CodeDraining, picloud.CodeOf(err))
	e.Stop()
}

func TestStopUnstarted(t *testing.T) {
	e, err := New(Options{WorkerPath: self(t), MemoryCap: 1 << 30})
	require.NoError(t, err)
	_, err = invoke(t, function(e, "shop", "f", nil), "/echo")
	require.Equal(t, picloud.CodeStarting, picloud.CodeOf(err))
	e.Stop()
	require.Error(t, e.Start(context.Background()))
}

// TestKilledUnderLoad kills workers at random moments while many callers run:
// every call ends, and each answer is the call's own.
func TestKilledUnderLoad(t *testing.T) {
	e := launch(t, func(o *Options) { o.MaxWorkers = 2 })
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
			return w.process != nil && w.busy.Load() > 8 && syscall.Kill(w.process.pid, syscall.SIGKILL) == nil
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
	require.True(t, f.gate.idle())
}

// TestScaling gives an app another worker when calls wait, and takes it back.
func TestScaling(t *testing.T) {
	e := launch(t, func(o *Options) { o.MaxWorkers, o.IdleTimeout = 3, 300*time.Millisecond })
	f := function(e, "shop", "f", nil)
	must(t, f, "/echo")
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for range 12 {
				must(t, f, "/spin/20")
			}
		})
	}
	eventually(t, "three workers", func() bool { return e.alive() == 3 })
	wg.Wait()
	eventually(t, "idle ones leave", func() bool { return e.alive() == 0 })

	// Many quick calls do not need a second worker.
	must(t, f, "/echo")
	for range 8 {
		wg.Go(func() {
			for range 50 {
				must(t, f, "/echo")
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, e.alive(), 2)
}

var errTest = errors.New("broken")
