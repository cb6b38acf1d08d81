package machine

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMountsRoot(t *testing.T) {
	const proc = "30 29 0:25 / /proc rw,relatime - proc proc rw\n"
	require.False(t, mountsRoot([]byte(proc)), "as in a chroot into a plain folder")
	require.True(t, mountsRoot([]byte(proc+"29 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n")))
	require.False(t, mountsRoot(nil))
}

// TestChrooted starts this test in a chroot of its own.
func TestChrooted(t *testing.T) {
	if os.Getenv("PICLOUD_TEST_CHROOT") != "" {
		os.Stdout.WriteString(map[bool]string{true: "in a chroot", false: "free"}[Chrooted()])
		os.Exit(0)
	}
	require.False(t, Chrooted())
	if os.Geteuid() != 0 {
		return // only root changes its root
	}
	root := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(root+"/test", self, 0o755))
	require.NoError(t, os.Mkdir(root+"/proc", 0o755))
	require.NoError(t, os.Mkdir(root+"/tmp", 0o755))
	require.NoError(t, syscall.Mount("proc", root+"/proc", "proc", 0, ""))
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(root+"/proc", 0)) })
	cmd := exec.Command("/test", "-test.run=^TestChrooted$")
	cmd.Env = []string{"PICLOUD_TEST_CHROOT=1"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(err.Error(), "no such file") {
		return // a race-enabled test is linked to libraries that are not in there
	}
	require.NoError(t, err, string(out))
	require.Equal(t, "in a chroot", string(out))
}
