package executor

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestOutOfMemory(t *testing.T) {
	const limit = 1 << 40 // more than any agent has
	const segv = "SIGSEGV: segmentation violation\nPC=0x43783d m=0 sigcode=1 addr=0x0\n\ngoroutine 0 gp=0x981fe0 m=0 mp=0x982da0 [idle]:"
	killed := syscall.WaitStatus(syscall.SIGKILL)
	for name, c := range map[string]struct {
		end  end
		used int64
		want bool
	}{
		"the runtime's words":      {end{stderr: "runtime: x\nfatal error: runtime: out of memory\n\nruntime stack:"}, 0, true},
		"in one line of it":        {end{stderr: "fatal error: out of memory allocating heap arena metadata"}, 0, true},
		"no memory":                {end{stderr: "fatal error: runtime: cannot allocate memory"}, 0, true},
		"a script's words":         {end{stderr: "picloud-executor: internal error: fatal error: out of memory"}, limit, false},
		"another fatal error":      {end{stderr: "fatal error: stack overflow"}, limit, false},
		"a panic":                  {end{stderr: "panic: out of memory"}, limit, false},
		"fault at the limit":       {end{stderr: segv}, limit, true},
		"fault below the limit":    {end{stderr: segv}, limit / 4, false},
		"fault of the collector":   {end{stderr: segv + "\nruntime.(*spanQueue).tryDrain(0x7ffc00000400?, 0x43f74f?, 0x9bbb6598?)"}, limit / 4, true},
		"fault of a goroutine":     {end{stderr: "SIGSEGV: segmentation violation\n\ngoroutine 7 [running]:"}, limit, false},
		"thread at the limit":      {end{stderr: "runtime: failed to create new OS thread (have 4 already; errno=12)\nfatal error: newosproc"}, limit, true},
		"thread below the limit":   {end{stderr: "runtime: failed to create new OS thread (have 4 already; errno=11)\nfatal error: newosproc"}, limit / 4, false},
		"killed at the limit":      {end{status: killed}, limit, true},
		"killed below the limit":   {end{status: killed}, limit / 4, false},
		"another signal":           {end{status: syscall.WaitStatus(syscall.SIGTERM)}, limit, false},
		"an end without any words": {end{}, limit, false},
	} {
		kilobytes(&c.end.usage.Maxrss, c.used)
		require.Equal(t, c.want, c.end.outOfMemory(limit), name)
	}
	agent := end{status: killed}
	kilobytes(&agent.usage.Maxrss, inherited())
	require.False(t, agent.outOfMemory(16<<20), "it was the agent that had as much")
}

// kilobytes sets a field that has another size on other machines.
func kilobytes[T int32 | int64](field *T, bytes int64) { *field = T(bytes >> 10) }

// TestFaultAtTheLimit measures what a process used.
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
	e := launch(t, func(o *Options) { o.Host = &gated{open: make(chan struct{})} })
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

	var guilty, other *picloud.Error
	require.ErrorAs(t, errs["/crash-in/200"], &guilty)
	require.ErrorAs(t, errs["/host/1"], &other)
	require.Equal(t, picloud.CodeFunctionCrash, guilty.Code)
	require.Equal(t, "the executor ended while the function ran", guilty.Detail)
	require.Zero(t, guilty.RetryAfter)
	require.Equal(t, picloud.CodeFunctionCrash, other.Code)
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
