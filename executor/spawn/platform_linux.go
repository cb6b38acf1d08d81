package spawn

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/executor/sandbox"
)

// imagePath is the worker's program as its process sees it before exec.
func imagePath(name string) string {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return name
	}
	return fmt.Sprintf("/proc/self/fd/%d", sandbox.ImageFD)
}

// mayChangeUser reports whether root has the capabilities to start a process under
// another uid. In a container root may lack them.
func mayChangeUser() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return true // the start of a worker will show it
	}
	const need = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return data[0].Effective&need == need
}
