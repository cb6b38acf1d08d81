package executor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/sandbox"
)

// TestRealSandbox reads from the kernel what holds for a live worker.
func TestRealSandbox(t *testing.T) {
	e := launchReal(t)
	must(t, script(e, `function handle(req) { return "x" }`, nil), "/")
	w := e.live("shop")
	require.Empty(t, sandbox.Lacks(w.layers))
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(w.process.PID()), name))
		require.NoError(t, err)
		return string(b)
	}
	status := read("status")
	require.Contains(t, status, "NoNewPrivs:\t1")
	if os.Geteuid() == 0 {
		require.Contains(t, status, "Uid:\t70000\t70000\t70000\t70000")
		require.Contains(t, status, "Gid:\t70000\t70000\t70000\t70000")
		require.Contains(t, status, "Groups:\t \n")
		require.Contains(t, status, "CapEff:\t0000000000000000")
	}
	require.Equal(t, "1000\n", read("oom_score_adj"))
	limits := strings.Join(strings.Fields(read("limits")), " ")
	require.Contains(t, limits, fmt.Sprintf("Max data size %d %d", 64<<20+sandbox.DataSlack, 64<<20+sandbox.DataSlack))
	require.Contains(t, limits, "Max core file size 0 0")
	require.Contains(t, limits, "Max file size 0 0")
	require.Contains(t, limits, "Max open files 16 16")
	cwd, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(w.process.PID()), "cwd"))
	require.NoError(t, err)
	require.Equal(t, "/", cwd)
	fds, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(w.process.PID()), "fd"))
	require.NoError(t, err)
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(w.process.PID()), "fd", fd.Name()))
		require.NoError(t, err)
		require.True(t, target == os.DevNull || strings.HasPrefix(target, "socket:") || strings.HasPrefix(target, "pipe:") || strings.HasPrefix(target, "anon_inode:"), target)
	}
}
