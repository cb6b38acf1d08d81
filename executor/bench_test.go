package executor

import (
	"context"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/internal/hook"
	"github.com/picloud/picloud/internal/testworker"
)

// BenchmarkEcho measures the way of a call without any script: frames to a
// process that answers at once, from parallel callers.
func BenchmarkEcho(b *testing.B) {
	for _, callers := range []int{1, 32} {
		b.Run(map[int]string{1: "1", 32: "32"}[callers], func(b *testing.B) {
			e, err := NewHooked(Options{WorkerPath: self(b), WorkerArgs: []string{actorArg}, MemoryCap: 1 << 30}, hook.Executor{Spawn: hook.Spawn{Layers: []string{}}})
			require.NoError(b, err)
			require.NoError(b, e.Start(context.Background()))
			defer e.Stop()
			limits := picloud.DefaultLimits()
			measureCalls(b, e, e.Function(Program{App: "bench", Function: "echo", Version: 1, Source: []byte("echo"), Limits: limits}), callers)
		})
	}
}

// BenchmarkHello measures a script in the real worker, with and without what
// its sandbox asks of every system call.
func BenchmarkHello(b *testing.B) {
	source := []byte(`function handle(req) { return {hello: req.query.name ?? "world"} }`)
	for _, v := range []struct {
		name    string
		without []string
	}{
		{"all layers", nil},
		{"no seccomp", []string{sandbox.Seccomp}},
		{"resource limits only", append(append(sandbox.Own()[1:], sandbox.Namespaces()...), sandbox.OwnUID)},
	} {
		b.Run(v.name, func(b *testing.B) {
			e, err := NewHooked(Options{WorkerPath: testworker.Path(b), MemoryCap: 1 << 30, Sandbox: SandboxBestEffort}, hook.Executor{Spawn: hook.Spawn{Without: v.without}})
			require.NoError(b, err)
			require.NoError(b, e.Start(context.Background()))
			defer e.Stop()
			program := Program{App: "bench", Function: "hello", Version: 1, Source: source, Digest: picloud.DigestOf(source), Limits: picloud.DefaultLimits()}
			measureCalls(b, e, e.Function(program), 32)
		})
	}
}

// measureCalls makes b.N calls from parallel callers, and reports what each
// costs both sides.
func measureCalls(b *testing.B, e *Executor, f *Function, callers int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	call := func() {
		r, err := f.Invoke(ctx, &Call{
			ID: "01JABCDEFGHJKMNPQRSTVWXYZ0", Method: "GET", Path: "/echo", RawQuery: "name=Ada", Host: "localhost:8080",
			ClientIP: "127.0.0.1", Header: map[string][]string{"User-Agent": {"wrk"}},
		})
		if err != nil {
			b.Error(err)
			return
		}
		r.Release()
	}
	call()
	b.ReportAllocs()
	b.ResetTimer()
	agent := cpu(syscall.RUSAGE_SELF)
	var wg sync.WaitGroup
	for i := range callers {
		n := b.N / callers
		if i == 0 {
			n += b.N % callers
		}
		wg.Go(func() {
			for range n {
				call()
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	// Time says little on a busy machine; what a call costs each side does.
	b.ReportMetric(float64(cpu(syscall.RUSAGE_SELF)-agent)/float64(b.N), "agent-cpu-ns/op")
	b.ReportMetric(float64(e.alive()), "workers")
	worker := cpu(syscall.RUSAGE_CHILDREN)
	e.Stop()
	b.ReportMetric(float64(cpu(syscall.RUSAGE_CHILDREN)-worker)/float64(b.N), "worker-cpu-ns/op")
}

// cpu is the processor time that this process, or those it reaped, took so far.
func cpu(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func self(tb testing.TB) string {
	path, err := os.Executable()
	require.NoError(tb, err)
	return path
}

// BenchmarkColdStart measures the first call of an app without a worker: start
// the process, load the program, answer.
func BenchmarkColdStart(b *testing.B) {
	e, err := New(Options{WorkerPath: testworker.Path(b), MemoryCap: 1 << 30})
	require.NoError(b, err)
	require.NoError(b, e.Start(context.Background()))
	defer e.Stop()
	coldStarts(b, e)
}

// coldStarts makes calls of which each finds no worker.
func coldStarts(b *testing.B, e *Executor) {
	source := []byte(`function handle(req) { return {hello: req.query.name ?? "world"} }`)
	f := e.Function(Program{App: "bench", Function: "hello", Source: source, Digest: picloud.DigestOf(source), Limits: picloud.DefaultLimits()})
	var took []time.Duration
	for b.Loop() {
		begun := time.Now()
		_, err := invoke(b, f, "/")
		took = append(took, time.Since(begun))
		require.NoError(b, err)
		b.StopTimer()
		w := e.live("bench")
		w.killIfIdle(causeIdle)
		<-w.ended
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}
