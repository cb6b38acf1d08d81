//go:build linux && (amd64 || arm64)

package cluster

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/powercut"
)

func init() { powercut.Watcher() }

// startAs starts the node with another program than picloud, and waits until it is ready.
func (n *node) startAs(program *exec.Cmd, env ...string) *node {
	n.t.Helper()
	n.output, n.exited = &safeBuffer{}, make(chan struct{})
	program.Dir, program.Env = n.dir, append(slices.Clone(n.env), env...)
	program.Stdout, program.Stderr, program.WaitDelay = n.output, n.output, time.Second
	n.cmd = program
	require.NoError(n.t, n.begin(program))
	exited := n.exited
	go func() {
		program.Wait()
		close(exited)
	}()
	n.awaitReady(60 * time.Second)
	return n
}

// run is the command line of the node with the binaries of a folder.
func (n *node) run(folder string) []string {
	return append([]string{filepath.Join(folder, "picloud"), "run"}, n.args...)
}

// record starts the node under a watch that writes down what it does to its data folder.
func (n *node) record(out string) {
	n.t.Helper()
	watch := powercut.Command(n.data, out, n.run(binaries)...)
	n.startAs(watch, watch.Env[len(watch.Env)-2:]...)
}

// TestPowerCuts records what a member does to its disk while it joins, gets functions and
// restarts, and boots it from what a power cut could have left of that: it comes back by itself,
// with the same command line, and serves nothing older than what it had acknowledged. The
// tests of agent/replica, cluster and cluster/elect cut the power after every operation of
// theirs; here a sample of the moments goes through the whole program.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	one := l.add().start()
	one.token = one.readToken()
	two := l.add(one.invite("--uses", "100")...)
	two.token = one.token
	out := filepath.Join(l.dir, "record")
	two.record(out)
	acked := map[string]int{} // what the node has acknowledged, and how many operations that took
	for i := range 4 {
		text := fmt.Sprintf("0-%d", i)
		one.deploy("f", text)
		ops, err := powercut.Read(out)
		require.NoError(t, err)
		acked[text] = len(ops)
	}
	two.stop()
	ops, err := powercut.Read(out)
	require.NoError(t, err)
	moments := either(5, 200)
	for i := range moments {
		done := len(ops) * (i + 1) / moments
		how := powercut.How(i % 6)
		entries, err := os.ReadDir(two.data)
		require.NoError(t, err)
		for _, e := range entries { // the folder itself stays: another one would be a copy
			require.NoError(t, remove(filepath.Join(two.data, e.Name())))
		}
		require.NoError(t, powercut.Build(two.data, ops, done, powercut.POSIX, how))
		acknowledged := ""
		for text, by := range acked {
			if by <= done {
				acknowledged = max(acknowledged, text)
			}
		}
		state := fmt.Sprintf("power cut after operation %d of %d (%s), %s", done, len(ops), ops[done-1], how)
		two.start()
		require.NotContains(t, two.output.String(), "damaged", state)
		status, body := two.call("f")
		if acknowledged != "" {
			require.Equal(t, http.StatusOK, status, "%s: %s", state, body)
			require.GreaterOrEqual(t, body, acknowledged, state)
		}
		text := fmt.Sprintf("9-%03d", i)
		one.deploy("f", text)
		_, body = two.call("f")
		require.Equal(t, text, body, state)
		two.power()
	}
	two.cmd = nil
	t.Logf("%d operations, %d boots", len(ops), moments)
}
