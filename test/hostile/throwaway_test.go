//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/trigger"
)

// TestThrowaway has the workers of drafts and compiles attack: they hold code that
// nobody has looked at.
func TestThrowaway(t *testing.T) {
	hostile, _ := binaries(t)
	s := newScene(t, hostile, nil)
	visitors, descriptors := s.visitors.Load(), openDescriptors(t)
	bad := newNode(t, func(o *options) { o.WorkerPath = hostile })
	draft := func(path string, timeout time.Duration) (string, error) {
		limits := picloud.Limits{Memory: 32 << 20, Timeout: picloud.Duration(timeout)}
		r, _, err := bad.Draft(t.Context(), executor.Program{Source: []byte("draft"), Limits: limits},
			&executor.Call{ID: "draft-1", Path: path, RawQuery: s.query(), Trigger: trigger.Draft})
		if err != nil {
			return "", err
		}
		defer r.Release()
		return string(r.Body), nil
	}
	for _, name := range []string{"open-passwd", "create", "agent-memory", "kill-agent", "tcp4", "unix-abstract", "execute", "fork", "memory-shared"} {
		answer, err := draft("/try/"+name, patience)
		require.NoError(t, err)
		require.Equal(t, refusal(name), answer, name)
		require.Empty(t, children(t, s.own...), name)
	}
	for name, want := range verdicts {
		timeout := patience
		if want == timedOut {
			timeout = 100 * time.Millisecond
		}
		switch _, err := draft("/frame/"+name, timeout); {
		case want == timedOut || want.answer == "" && want.code != "":
			require.Error(t, err, name)
			require.NotEqual(t, picloud.CodeInternal, picloud.CodeOf(err), "%s: %v", name, err)
		case want.cause == "": // the rest may be answered before it is found out
			require.NoError(t, err, name)
		}
		require.Empty(t, children(t, s.own...), name)
	}
	bad.stop(t)
	bad = newNode(t, func(o *options) { o.WorkerPath, o.LoadTimeout = hostile, 200*time.Millisecond })
	for name := range verdicts {
		begun := time.Now()
		_, err := bad.Compile(context.Background(), []byte(name), "f")
		if name == "second-load" && err == nil { // here it is the first one, and in time
			continue
		}
		require.Error(t, err, name)
		require.NotEqual(t, picloud.CodeInternal, picloud.CodeOf(err), "%s: %v", name, err)
		require.Less(t, time.Since(begun), patience/2, name)
		require.Empty(t, children(t, s.own...), name)
	}
	require.Equal(t, visitors, s.visitors.Load(), "somebody reached a listener")
	bad.stop(t)
	require.LessOrEqual(t, openDescriptors(t), descriptors, "descriptors of the agent")
	s.check(t)
}
