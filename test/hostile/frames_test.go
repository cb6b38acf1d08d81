//go:build linux && (amd64 || arm64)

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// verdict is how the agent takes a forgery.
type verdict struct {
	answer string       // what the call gets; empty: an error
	code   picloud.Code // of that error
	cause  string       // why the worker ends; empty: it lives on
}

var (
	brokenOff = verdict{code: picloud.CodeFunctionCrash, cause: "protocol"}
	timedOut  = verdict{code: picloud.CodeFunctionTimeout, cause: "timeout"}
	unusable  = verdict{code: picloud.CodeFunctionResponse}
)

// verdicts are those on every forgery. The executor's own TestHostile has a fake
// worker do more of this, outside the sandbox.
var verdicts = map[string]verdict{
	"other-call": brokenOff, "stale-generation": brokenOff, "coming-generation": brokenOff, "no-call": brokenOff,
	"other-load": brokenOff, "second-load": brokenOff, "second-hello": brokenOff,
	"agents-frame": brokenOff, "agents-config": brokenOff, "agents-reply": brokenOff,
	"answer-twice":   {answer: "forged", cause: "protocol"},
	"late-log":       {answer: "answered", cause: "protocol"},
	"late-host-call": {answer: "answered", cause: "protocol"},
	"unknown-type":   brokenOff, "no-type": brokenOff, "flags": brokenOff,
	"huge-length": brokenOff, "long-length": brokenOff, "short-length": brokenOff, "no-payload": brokenOff,
	"broken-payload": brokenOff, "huge-string": brokenOff, "noise": brokenOff,
	"deep-arguments": brokenOff, "large-log": brokenOff, "log-flood": brokenOff, "host-flood": brokenOff,
	"silence": timedOut, "half-frame": timedOut, "half-header": timedOut, "slow-flood": timedOut, "stop": timedOut, "deaf": timedOut,
	"cut-frame":     {code: picloud.CodeFunctionCrash, cause: "crash"},
	"hang-up":       timedOut, // even to close the socket is refused
	"slow-frame":    {answer: "slowly"},
	"inject-header": unusable, "bad-status": unusable, "many-headers": unusable,
	"large-body":  {code: picloud.CodeResponseTooLarge},
	"error-flood": {answer: "flooded"},
}

// TestForgeries has sandboxed workers break the protocol. Each gets the verdict
// above, its app goes on in a fresh worker, and another app notices nothing.
func TestForgeries(t *testing.T) {
	hostile, honest := binaries(t)
	descriptors := openDescriptors(t)
	good := newNeighbour(t, honest)
	bad := newNode(t, func(o *options) { o.WorkerPath = hostile })
	require.Len(t, verdicts, len(forgeries))
	for name := range forgeries {
		t.Run(name, func(t *testing.T) {
			want := verdicts[name]
			timeout := 10 * time.Second
			if want == timedOut {
				timeout = 300 * time.Millisecond
			}
			f := bad.function(name, timeout)
			good.mustAnswer(t)
			answer, err := ask(f, "/frame/"+name, "")
			require.Equal(t, want.answer, answer)
			if want.code != "" {
				require.Equal(t, want.code, picloud.CodeOf(err), "%v", err)
			} else {
				require.NoError(t, err)
			}
			if want.cause != "" {
				bad.ended(t, name, want.cause)
			} else {
				require.Empty(t, bad.ends.of(name))
			}
			require.Eventually(t, func() bool {
				again, err := ask(f, "/again", "")
				return err == nil && strings.HasSuffix(again, "/again")
			}, patience, time.Millisecond, "the app's next call")
			good.mustAnswer(t)
			bad.Retain(nil)
		})
	}
	good.stop(t)
	bad.stop(t)
	require.LessOrEqual(t, openDescriptors(t), descriptors, "descriptors of the agent")
	require.Empty(t, children(t))
}
