package machine

import (
	"bytes"
	"os"
)

// Chrooted reports whether this process sees a part of its machine's files only, as
// after chroot(2). The kernel makes no user namespaces for such a process, whatever
// the settings say. A chroot into the root of a mount is found by root only.
func Chrooted() bool {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false // without /proc nothing is known
	}
	return !mountsRoot(mounts) || differsFromInit()
}

// mountsRoot reports whether a mount of the list is the root of what the process
// sees: id parent device root MOUNT-POINT options …
func mountsRoot(mountinfo []byte) bool {
	for line := range bytes.Lines(mountinfo) {
		if fields := bytes.Fields(line); len(fields) > 4 && string(fields[4]) == "/" {
			return true
		}
	}
	return false
}

// differsFromInit reports whether the first process sees another root in the same
// mounts. In a container that process is the container's own.
func differsFromInit() bool {
	ours, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return false
	}
	if theirs, err := os.Readlink("/proc/1/ns/mnt"); err != nil || ours != theirs {
		return false
	}
	root, err := os.Stat("/")
	if err != nil {
		return false
	}
	of1, err := os.Stat("/proc/1/root")
	return err == nil && !os.SameFile(root, of1)
}
