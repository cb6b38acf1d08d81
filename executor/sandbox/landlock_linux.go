package sandbox

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rulesets lists the accesses to forbid, for the newest kernels first. A kernel
// refuses a ruleset that names an access which it does not know.
var rulesets = []unix.LandlockRulesetAttr{
	{Handled_access_fs: 1<<17 - 1, Handled_access_net: 0xf, Scoped: scopes},
	{Handled_access_fs: 1<<17 - 1, Handled_access_net: tcp, Scoped: scopes},
	{Handled_access_fs: 1<<16 - 1, Handled_access_net: tcp, Scoped: scopes}, // ABI 6
	{Handled_access_fs: 1<<16 - 1, Handled_access_net: tcp},                 // 5: ioctl on devices
	{Handled_access_fs: 1<<15 - 1, Handled_access_net: tcp},                 // 4
	{Handled_access_fs: 1<<15 - 1},                                          // 3: truncate
	{Handled_access_fs: 1<<14 - 1},                                          // 2: refer
	{Handled_access_fs: 1<<13 - 1},                                          // 1
}

const (
	tcp    = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	scopes = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL

	// rulesetSize is the size of the three fields above. Kernels before ABI 6 accept
	// it as long as the fields that they do not know are zero.
	rulesetSize = 24

	// erratumSignal is set when the threads of a process may signal each other in
	// spite of the scope. On other kernels the scope would stop the runtime from
	// preempting goroutines, so it is left out.
	erratumSignal = 1 << 1
)

// landlock forbids every thread everything that this kernel's Landlock can forbid.
// The ruleset has no rules, so it makes no exceptions.
func landlock() error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
	case unix.ENOSYS:
		return errors.New("the kernel does not have it (ENOSYS)")
	case unix.EOPNOTSUPP:
		return errors.New("the kernel has it, but it was not turned on at boot (EOPNOTSUPP)")
	default:
		return failure("landlock_create_ruleset", errno)
	}
	fd, err := ruleset()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var flags uintptr
	if abi >= 7 {
		flags = unix.LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF // a worker must not be able to fill the audit log
	}
	if _, err := allThreads("landlock_restrict_self", unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(fd), flags); err != nil {
		return err
	}
	return verifyLandlock()
}

// ruleset makes the strongest ruleset that the kernel accepts.
func ruleset() (int, error) {
	fixed, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_ERRATA)
	signals := errno == 0 && fixed&erratumSignal != 0
	for _, attr := range rulesets {
		if !signals {
			attr.Scoped &^= unix.LANDLOCK_SCOPE_SIGNAL
		}
		fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), rulesetSize, 0)
		if e == 0 {
			unix.CloseOnExec(int(fd))
			return int(fd), nil
		}
		errno = e
		if e != unix.EINVAL && e != unix.E2BIG {
			break
		}
	}
	return -1, failure("landlock_create_ruleset", errno)
}

// verifyLandlock has every thread try to read the root folder, which without
// Landlock is allowed, empty or not.
func verifyLandlock() error {
	root := [...]byte{'/', 0}
	at := unix.AT_FDCWD
	_, err := allThreads("openat", unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(&root[0])), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if errors.Is(err, unix.EACCES) {
		return nil
	}
	return errors.New("the root folder can be read in spite of it")
}
