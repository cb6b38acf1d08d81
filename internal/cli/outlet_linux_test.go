package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOutputThatWasCutIsAFailure: a file on a full disk has not all of it.
func TestOutputThatWasCutIsAFailure(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	self, err := os.Executable()
	require.NoError(t, err)
	link := filepath.Join(t.TempDir(), "picloud")
	require.NoError(t, os.Symlink(self, link))
	for _, args := range [][]string{{"version"}, {"--help"}} {
		cmd := exec.Command(link, args...)
		cmd.Stdout = full
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=10")
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Run(), &exit, "%s", args)
		require.Equal(t, 1, exit.ExitCode())
	}
}
