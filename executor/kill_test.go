package executor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
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

	// One that never answers costs the worker; its neighbour gets a typed error.
	neighbour := make(chan error, 1)
	patient := function(e, "shop", "patient", nil)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := patient.Invoke(ctx, &Call{Path: "/slow/5000"})
		neighbour <- err
	}()
	eventually(t, "neighbour runs", func() bool { return e.live("shop").busy.Load() == 1 })
	_, err = invoke(t, f, "/never")
	require.Equal(t, picloud.CodeFunctionTimeout, picloud.CodeOf(err), err)
	require.Equal(t, picloud.CodeFunctionCrash, picloud.CodeOf(<-neighbour))
	require.NotEqual(t, pid, must(t, f, "/pid"), "the next call gets a fresh worker")
	require.Equal(t, 1, e.kills(causeTimeout))
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

// TestClientGoneDuringLoad leaves while the program loads: a worker that boots is
// not one that does not stop.
func TestClientGoneDuringLoad(t *testing.T) {
	e := launch(t, nil)
	f := version(e, "shop", "f", "heavy", 1, func(l *picloud.Limits) { l.Timeout = picloud.Duration(50 * time.Millisecond) })
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := f.Invoke(ctx, &Call{Path: "/slow/60000"})
	require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(err))
	require.Equal(t, "1", must(t, f, "/loads"))
	eventually(t, "idle", func() bool { return e.live("shop").busy.Load() == 0 })
	require.Zero(t, e.kills(causeTimeout))
	// Nor is it spared for ever.
	g := version(e, "shop", "g", "heavy", 1, nil)
	ctx, cancel = context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = g.Invoke(ctx, &Call{Path: "/never"})
	require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(err))
	eventually(t, "killed", func() bool { return e.kills(causeTimeout) == 1 })
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
	require.True(t, f.gate.idle())
}
