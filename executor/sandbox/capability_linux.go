package sandbox

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dropCapabilities empties all sets of every thread. The bounding set is emptied
// where that is allowed, which it is in a user namespace of one's own: with
// no_new_privs nothing can be gained from it anyway.
func dropCapabilities() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP+16; c++ { // kernels may know more than we
		bound, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil {
			break // the last one was the last
		}
		if bound == 0 {
			continue
		}
		if _, err := allThreads("prctl(PR_CAPBSET_DROP)", unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c); err != nil {
			if errors.Is(err, unix.EPERM) {
				break
			}
			return err
		}
	}
	_, err := allThreads("prctl(PR_CAP_AMBIENT_CLEAR_ALL)", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL)
	if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: a kernel without ambient capabilities
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, err = allThreads("capset", unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])))
	if err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}
