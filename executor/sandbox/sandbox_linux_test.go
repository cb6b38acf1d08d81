package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestApply builds a program that applies the sandbox and then tries what it
// forbids. The test binary itself cannot: -race needs cgo, which the call to all
// threads excludes.
func TestApply(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "probe")
	build := exec.Command("go", "build", "-o", bin, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	out, err = exec.Command(bin, "apply").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "layers: rlimits no_new_privs capabilities\nopen files: refused\nwrite file: refused\nthreads without no_new_privs: 0\n", string(out))

	out, err = exec.Command(bin, "none").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), Rlimits)
	require.Contains(t, string(out), "\nopen files: allowed\nwrite file: allowed\n")

	out, err = exec.Command(bin, "memory").CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 2, exit.ExitCode())
	require.Contains(t, string(out), "out of memory")

	_, err = Apply(Options{})
	require.ErrorContains(t, err, "no memory limit")
	require.Equal(t, []string{NoNewPrivs, Rlimits, Capabilities, Seccomp}, Required())
}
