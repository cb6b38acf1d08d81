package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNothingNeededIsRefused has the runtime collect, preempt, grow, shrink and
// die in every way it has, where the first refused call would end the process.
func TestNothingNeededIsRefused(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "busy")
	build := exec.Command("go", "build", "-o", bin, "./testdata/busy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for how, want := range map[string]string{
		"work":     "done",
		"panic":    "assignment to entry in nil map",
		"overflow": "fatal error", // of the stack, or for want of memory
		"memory":   "out of memory",
		"deadlock": "all goroutines are asleep",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(bin, how)
			cmd.Env = []string{"GODEBUG=containermaxprocs=0,updatemaxprocs=0,decoratemappings=0"} // as the agent sets it
			out, err := cmd.CombinedOutput()
			if how == "work" {
				require.NoError(t, err, "%s", out)
			} else {
				var exit *exec.ExitError
				require.ErrorAs(t, err, &exit)
				require.Equal(t, 2, exit.ExitCode(), "%v: %s", err, out)
			}
			require.Contains(t, string(out), want, "%s", out)
		})
	}
	_, err = exec.Command(bin, "exec").CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, syscall.SIGSYS, exit.Sys().(syscall.WaitStatus).Signal(), "the test would see a refused call")
}
