package sandbox

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dropCapabilities empties all capability sets of every thread. It empties the
// bounding set only where the kernel allows it, as in an own user namespace; under
// no_new_privs a process gains nothing from that set.
func dropCapabilities() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP+16; c++ { // a newer kernel may know more capabilities
		bound, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil {
			break // the kernel has no such capability: the last one is dropped
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
