package executor

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// TestFaultAtTheLimit measures what a process used. The agent must have used less than
// half of the limit, since its own peak counts: in this file it is still young.
func TestFaultAtTheLimit(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", func(l *picloud.Limits) { l.Memory = 400 << 20 })
	_, err := invoke(t, f, "/segv/220")
	require.Equal(t, picloud.CodeFunctionMemory, picloud.CodeOf(err), err)
	_, err = invoke(t, f, "/segv/1")
	require.Equal(t, picloud.CodeFunctionCrash, picloud.CodeOf(err), err)
}

// TestOthersOfAWorker has a worker die of one call, and asks what becomes of the
// others: what had not begun is answered by another worker, what waited for the
// host is told that it was not its fault.
func TestOthersOfAWorker(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.Host = &gated{open: make(chan struct{})} })
	f := function(e, "shop", "f", nil)
	must(t, f, "/pid")
	errs := map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	call := func(path string) {
		wg.Go(func() {
			_, err := f.Invoke(context.Background(), &Call{Path: path})
			mu.Lock()
			defer mu.Unlock()
			errs[path] = err
		})
	}
	call("/host/1")
	eventually(t, "one waits", func() bool { return e.live("shop").waiting.Load() == 1 })
	call("/crash-in/200")
	eventually(t, "one runs", func() bool { return e.live("shop").running() == 1 })
	late := version(e, "shop", "late", "heavy", 1, nil) // takes half a second to load
	require.Equal(t, "heavy", must(t, late, "/source"))
	wg.Wait()
	require.Equal(t, 1, e.kills(causeCrash))

	var blamed, other *picloud.Error
	require.ErrorAs(t, errs["/crash-in/200"], &blamed)
	require.ErrorAs(t, errs["/host/1"], &other)
	require.Equal(t, picloud.CodeFunctionCrash, blamed.Code)
	require.Equal(t, "the executor ended while the function ran", blamed.Detail)
	require.Zero(t, blamed.RetryAfter)
	require.Equal(t, picloud.CodeInterrupted, other.Code)
	require.Equal(t, "another call of the app ended the executor: it crashed", other.Detail)
	require.Equal(t, time.Second, other.RetryAfter)
}

// TestNeverTwice has the only worker die of each call: none is tried again.
func TestNeverTwice(t *testing.T) {
	e := launch(t, nil)
	_, err := invoke(t, version(e, "shop", "g", "explode", 1, nil), "/echo")
	require.Equal(t, picloud.CodeFunctionCrash, picloud.CodeOf(err), err)
	require.Equal(t, 1, e.kills(causeCrash), "its own script ended it")
	f := function(e, "shop", "f", nil)
	_, err = invoke(t, f, "/crash")
	require.Equal(t, picloud.CodeFunctionCrash, picloud.CodeOf(err), err)
	require.Equal(t, 2, e.kills(causeCrash), "the call had begun")
}

// TestBegunIsLoaded bombs with the first call of a program: the agent knows that
// it is loaded before the call begins, so that it is not made twice.
func TestBegunIsLoaded(t *testing.T) {
	e := launchReal(t)
	for i := range 10 {
		app := fmt.Sprintf("shop%d", i)
		quick := version(e, app, "quick", `function handle(req) { return "quick" }`, 1, nil)
		must(t, quick, "/")
		done := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { bystand(t, quick, done) })
		_, err := invoke(t, version(e, app, "f", `function handle(req) { return len("x".repeat(4000000000)) }`, 1, nil), "/")
		require.Equal(t, picloud.CodeFunctionMemory, picloud.CodeOf(err), err)
		require.Equal(t, i+1, e.kills(causeMemory))
		close(done)
		wg.Wait()
	}
}

// TestACrashIsOneLineInTheNodesLog: the dump of a function's crash is not for the
// terminal of the node; the reason is in the app's log.
func TestACrashIsOneLineInTheNodesLog(t *testing.T) {
	var node strings.Builder
	logs := &sink{}
	e := launch(t, func(o *testOptions) {
		o.Logger, o.Logs = slog.New(slog.NewTextHandler(&node, &slog.HandlerOptions{Level: slog.LevelWarn})), logs
	})
	_, err := invoke(t, version(e, "shop", "f", "x", 1, nil), "/crash")
	require.Equal(t, picloud.CodeFunctionCrash, picloud.CodeOf(err), err)
	_, err = invoke(t, version(e, "mem", "f", "x", 1, nil), "/segv/220")
	require.Equal(t, picloud.CodeFunctionMemory, picloud.CodeOf(err), err)
	e.Stop() // all is said
	require.Equal(t, 2, strings.Count(node.String(), "\n"), node.String())
	require.Contains(t, node.String(), "cause=crash")
	require.Contains(t, node.String(), "cause=memory_limit")
	for _, word := range []string{"SIGSEGV", "goroutine", "something broke", "stderr"} {
		require.NotContains(t, node.String(), word)
	}
	require.Len(t, logs.records, 1)
	require.Equal(t, "the executor ended: panic: something broke", logs.records[0].Message)
	require.Equal(t, "error", logs.records[0].Level)
}
