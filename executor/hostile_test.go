package executor

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

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
