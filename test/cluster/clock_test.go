package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shift is the addition to the package time: it moves the wall clock of the whole program by
// the seconds that a file says, and reads that again every 50 ms. The monotonic clock stays,
// as it does when a board's clock is set.
const shift = `package time

import "sync/atomic"
import "syscall"

var wallMoved atomic.Int64

func init() {
	path, ok := syscall.Getenv("PICLOUD_TEST_CLOCK")
	if !ok {
		return
	}
	lookAtWall(path)
	go func() {
		for {
			Sleep(50 * Millisecond)
			lookAtWall(path)
		}
	}()
}

func lookAtWall(path string) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	var buf [32]byte
	n, _ := syscall.Read(fd, buf[:])
	moved, sign := int64(0), int64(1)
	for i := 0; i < n; i++ {
		if c := buf[i]; c == '-' {
			sign = -1
		} else if c >= '0' && c <= '9' {
			moved = moved*10 + int64(c-'0')
		}
	}
	wallMoved.Store(sign * moved)
}
`

// buildShifted compiles the binaries with a wall clock that PICLOUD_TEST_CLOCK moves.
// Nothing of it is in the sources of the product: the compiler takes other files of the
// standard library.
func buildShifted(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	std := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(std, "time.go"))
	require.NoError(t, err)
	const asks = "	sec, nsec, mono := runtimeNow()\n	if mono == 0 {"
	require.Equal(t, 1, strings.Count(string(source), asks), "this version of Go asks for the time in another way")
	patched := strings.Replace(string(source), asks, "	sec, nsec, mono := runtimeNow()\n	sec += wallMoved.Load()\n	if mono == 0 {", 1)
	files := map[string]string{"time.go": patched, "shift.go": shift}
	replace := map[string]string{}
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		replace[filepath.Join(std, name)] = path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	return build(t, "../..", "-overlay", filepath.Join(dir, "overlay.json"))
}

// setClock moves the wall clock of the node's programs from the right time.
func (n *node) setClock(by time.Duration) {
	n.t.Helper()
	path := filepath.Join(n.dir, "clock")
	require.NoError(n.t, os.WriteFile(path+".new", fmt.Appendf(nil, "%d", int64(by/time.Second)), 0o644))
	require.NoError(n.t, os.Rename(path+".new", path))
	pause(100 * time.Millisecond)
}

// TestClocks boots a board whose clock begins in 1970, and sets the clocks of nodes while they
// run, forward and back: the nodes stay members, functions answer, the manager stays, and
// deploys reach all. TestClocks in agent is the short form, for certificates alone: this
// one compiles all of the program with another clock.
func TestClocks(t *testing.T) {
	t.Parallel()
	if !long() {
		t.Log("a build with another clock takes minutes: PICLOUD_TEST_CLUSTER=long; TestClocks in agent is the short form")
		return
	}
	folder := buildShifted(t)
	l := newLab(t)
	start := func(n *node) *node {
		n.env = append(n.env, "PICLOUD_TEST_CLOCK="+filepath.Join(n.dir, "clock"))
		return n.startAs(exec.Command(folder+"/picloud", n.run(folder)[1:]...))
	}
	one := l.add()
	one.setClock(0)
	start(one)
	one.token = one.readToken()
	invitation := one.invite("--uses", "2")
	for range 2 {
		n := l.add(invitation...)
		n.token = one.token
		n.setClock(-time.Since(time.Unix(0, 0))) // it has no battery
		begun := time.Now()
		start(n)
		t.Logf("%s joined with a clock in 1970, and was ready after %s", n.name, time.Since(begun))
	}
	two := l.nodes[1]
	l.awaitLive(healing)
	l.awaitHeard(3, healing)
	one.deploy("steady", "ok")
	two.setClock(0) // NTP
	l.nodes[2].setClock(0)

	epoch := one.sql("SELECT epoch FROM leadership")
	for _, n := range []*node{two, one} {
		for _, by := range []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour, 0} {
			calls := underLoad("steady", l.nodes...)
			n.setClock(by)
			pause(15 * time.Second)
			for _, other := range l.nodes {
				require.Equal(t, 3, other.heard(), "%s hears all with the clock of %s set to %s", other.name, n.name, by)
			}
			text := n.name + by.String()
			n.deploy("f", text)
			for _, other := range l.nodes {
				_, body := other.call("f")
				require.Equal(t, text, body, other.name)
			}
			require.Equal(t, epoch, one.sql("SELECT epoch FROM leadership"), "the manager stays: %s set to %s", n.name, by)
			calls.requireAll(n)
			list, _, code := n.cli("node", "ls")
			require.Zero(t, code)
			require.Equal(t, 3, strings.Count(list, "  pi-")+strings.Count(list, "\npi-"), list)
		}
	}
	for _, by := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		two.stop()
		two.setClock(by)
		start(two)
		l.awaitLive(healing)
		l.awaitHeard(3, healing)
	}
}
