package cluster

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/powercut"
)

func init() { powercut.Watcher() }

// record starts the node under a watch that writes down what it does to its data folder.
func (n *node) record(out string) {
	n.t.Helper()
	n.output, n.exited = &safeBuffer{}, make(chan struct{})
	n.cmd = powercut.Command(n.data, out, append([]string{filepath.Join(binaries, "picloud"), "run"}, n.args...)...)
	watch := n.cmd.Env[len(n.cmd.Env)-2:]
	n.cmd.Dir, n.cmd.Env = n.dir, append(slices.Clone(n.env), watch...)
	n.cmd.Stdout, n.cmd.Stderr, n.cmd.WaitDelay = n.output, n.output, time.Second
	require.NoError(n.t, n.begin(n.cmd))
	cmd, exited := n.cmd, n.exited
	go func() {
		cmd.Wait()
		close(exited)
	}()
	n.awaitReady(60 * time.Second)
}

// TestPowerCuts records what a member does to its disk while it joins, gets functions and
// restarts, and boots it from what a power cut could have left of that: it comes back by itself,
// with the same command line, and serves nothing older than what it had acknowledged. The
// tests of agent/replica, cluster and cluster/elect cut the power after every operation of
// theirs; here a sample of the moments goes through the whole program.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	if !powercut.Supported {
		t.Skip("recording needs Linux on amd64 or arm64")
	}
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
		require.NoError(t, remove(two.data))
		require.NoError(t, os.Mkdir(two.data, 0o711))
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
