package executor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestStartFailures(t *testing.T) {
	try := func(name string, want picloud.Code, change func(*testOptions)) {
		t.Run(name, func(t *testing.T) {
			e := launch(t, change)
			_, err := invoke(t, function(e, "shop", "f", nil), "/pid")
			if want == "" {
				require.NoError(t, err)
				return
			}
			require.Equal(t, want, picloud.CodeOf(err), err)
			require.Equal(t, 1, e.kills(causeSandbox)+e.kills(causeLoadTimeout)+e.kills(causeProtocol))
		})
	}
	try("dies", picloud.CodeExecutor, func(o *testOptions) { o.WorkerArgs = append(o.WorkerArgs, "die") })
	try("other version", picloud.CodeExecutor, func(o *testOptions) { o.WorkerArgs = append(o.WorkerArgs, "old") })
	try("layer missing", picloud.CodeExecutor, func(o *testOptions) { o.Layers = []string{"seccomp"} })
	try("layer there", "", func(o *testOptions) { o.Layers = []string{"pretended"} })
	try("no hello", picloud.CodeFunctionCrash, func(o *testOptions) { o.WorkerArgs = append(o.WorkerArgs, "rude") })
	try("silent", picloud.CodeFunctionTimeout, func(o *testOptions) {
		o.WorkerArgs = append(o.WorkerArgs, "silent")
		o.LoadTimeout = 50 * time.Millisecond
	})

	broken, err := New(Options{WorkerPath: filepath.Join(t.TempDir(), "none")})
	require.NoError(t, err)
	require.Equal(t, picloud.CodeExecutor, picloud.CodeOf(broken.Start(context.Background())))
	broken.Stop()
	for _, opts := range []Options{{MemoryCap: 1}, {Sandbox: "none"}} {
		_, err = New(opts)
		require.ErrorIs(t, err, picloud.ErrInvalid)
	}
}

// TestStartEndsWithItsContext probes a worker that says nothing, and gives up when
// the caller does. The executor can be started again.
func TestStartEndsWithItsContext(t *testing.T) {
	e, err := New(Options{WorkerPath: self(t), WorkerArgs: []string{actorArg, "silent"}, MemoryCap: 1 << 30})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	require.ErrorIs(t, e.Start(ctx), context.DeadlineExceeded)
	require.Less(t, time.Since(begun), patience)
	require.Equal(t, stateNew, state(e.state.Load()))
	require.Empty(t, children(t), "processes left")
	e.Stop()
}

// TestUnexecutable starts a file that is no program for the system.
func TestUnexecutable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "worker")
	require.NoError(t, os.WriteFile(path, []byte("not a program"), 0o755))
	e := launch(t, func(o *testOptions) { o.WorkerPath = path })
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
// enter. As root the worker is another user.
func TestUnreachableWorker(t *testing.T) {
	want := fmt.Sprintln(os.Getuid(), os.Getgid(), 5, 64<<20)
	if os.Geteuid() == 0 {
		want = fmt.Sprintln(70000, 70000, 5, 64<<20)
	}
	dir := filepath.Join(t.TempDir(), "private")
	require.NoError(t, os.Mkdir(dir, 0o700))
	binary, err := os.ReadFile(self(t))
	require.NoError(t, err)
	path := filepath.Join(dir, "worker")
	require.NoError(t, os.WriteFile(path, binary, 0o755))
	e := launch(t, func(o *testOptions) { o.WorkerPath = path })
	require.NoError(t, os.Remove(path)) // nor does a removed file matter
	require.Equal(t, want, must(t, function(e, "shop", "f", nil), "/whoami"))
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
	for _, pause := range []int64{1, 2, 4, 8, 16, 30, 30} {
		wait, ok := b.allow(now)
		require.False(t, ok)
		require.Equal(t, pause*int64(time.Second), wait)
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
