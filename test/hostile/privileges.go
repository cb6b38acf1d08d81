//go:build linux && (amd64 || arm64)

package main

import (
	"golang.org/x/sys/unix"
)

// privileges are attempts to become more, or to be somewhere else.
var privileges = []attempt{
	{name: "user-root", try: call(unix.SYS_SETRESUID, 0, 0, 0)},
	{name: "user-set", try: call(unix.SYS_SETUID, 0)},
	{name: "user-real-effective", try: call(unix.SYS_SETREUID, 0, 0)},
	{name: "user-files", try: func(world) error {
		if _, err := sys(unix.SYS_SETFSUID, 0); err != nil {
			return err
		}
		if uid, _ := sys(unix.SYS_SETFSUID, 0); uid != 0 { // it answers with the one before
			return unix.EPERM
		}
		return nil
	}},
	{name: "group-root", try: call(unix.SYS_SETRESGID, 0, 0, 0)},
	{name: "group-set", try: call(unix.SYS_SETGID, 0)},
	{name: "groups", try: func(world) error { _, err := sys(unix.SYS_SETGROUPS, 1, zeros(4)); return err }},
	{name: "capabilities", try: func(world) error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		wanted := [2]unix.CapUserData{{Effective: 1 << unix.CAP_CHOWN, Permitted: 1 << unix.CAP_CHOWN}}
		_, err := sys(unix.SYS_CAPSET, memoryOf(bytesOf(&header)), memoryOf(bytesOf(&wanted)))
		return err
	}, once: true},
	{name: "capabilities-ambient", try: call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)},
	{name: "capabilities-bounding", try: reaching(unix.EINVAL, unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, 63)},
	{name: "control-dumpable", try: call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1)},
	{name: "control-seccomp", try: reaching(unix.EFAULT, unix.SYS_PRCTL, unix.PR_SET_SECCOMP, 2, 8)},
	{name: "control-tracer", try: reaching(unix.EINVAL, unix.SYS_PRCTL, unix.PR_SET_PTRACER, 1)},
	{name: "control-reaper", try: call(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 0)},
	{name: "control-name", try: func(world) error { _, err := sys(unix.SYS_PRCTL, unix.PR_SET_NAME, text("init")); return err }},
	{name: "control-memory", try: func(world) error {
		_, err := sys(unix.SYS_PRCTL, unix.PR_SET_MM, unix.PR_SET_MM_BRK, 0, 0, 0)
		return reached(err, unix.EINVAL)
	}},
	{name: "control-death", try: call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0)},
	{name: "control-speculation", try: func(world) error {
		_, err := sys(unix.SYS_PRCTL, unix.PR_SET_SPECULATION_CTRL, 99, 0, 0, 0)
		return reached(err, unix.ENODEV)
	}},
	{name: "filter", try: reaching(unix.EFAULT, unix.SYS_SECCOMP, 1, 0, 8)},
	{name: "restrict", try: call(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1)},
	{name: "limit-raise", try: raise(unix.RLIMIT_NOFILE), once: true},
	{name: "limit-stack", try: func(world) error {
		var l unix.Rlimit
		if _, err := sys(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_STACK, 0, memoryOf(bytesOf(&l))); err != nil {
			return err
		}
		l.Cur = l.Max
		_, err := sys(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_STACK, memoryOf(bytesOf(&l)), 0)
		return err
	}, once: true},
	{name: "limit-set", try: func(world) error {
		var l unix.Rlimit
		if _, err := sys(unix.SYS_GETRLIMIT, unix.RLIMIT_NOFILE, memoryOf(bytesOf(&l))); err != nil {
			return err
		}
		_, err := sys(unix.SYS_SETRLIMIT, unix.RLIMIT_NOFILE, memoryOf(bytesOf(&l)))
		return err
	}},
	{name: "faster", try: call(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, minusOne-4), once: true},
	{name: "real-time", try: func(world) error {
		priority := int32(1)
		_, err := sys(unix.SYS_SCHED_SETSCHEDULER, 0, schedFIFO, memoryOf(bytesOf(&priority)))
		return err
	}, once: true},
	{name: "schedule", try: func(world) error {
		attr := [6]uint64{0: 48}
		_, err := sys(unix.SYS_SCHED_SETATTR, 0, memoryOf(bytesOf(&attr)), 0)
		return err
	}},
	{name: "choose-core", try: func(world) error {
		mask := ^uint64(0)
		_, err := sys(unix.SYS_SCHED_SETAFFINITY, 0, 8, memoryOf(bytesOf(&mask)))
		return err
	}},
	{name: "namespace-network", try: call(unix.SYS_UNSHARE, unix.CLONE_NEWNET), once: true},
	{name: "namespace-mount", try: call(unix.SYS_UNSHARE, unix.CLONE_NEWNS), once: true},
	{name: "namespace-process", try: call(unix.SYS_UNSHARE, unix.CLONE_NEWPID), once: true},
	{name: "namespace-user", try: reaching(unix.EINVAL, unix.SYS_UNSHARE, unix.CLONE_NEWUSER), once: true}, // this process has threads
	{name: "namespace-enter", try: func(world) error {
		fd, err := sys(unix.SYS_OPENAT, atFDCWD, text("/proc/self/ns/uts"), unix.O_RDONLY|unix.O_CLOEXEC)
		if err != nil {
			fd = 3
		}
		_, err = sys(unix.SYS_SETNS, fd, unix.CLONE_NEWUTS)
		return err
	}},
	{name: "mount", try: apart(func(w world) error {
		_, err := sys(unix.SYS_MOUNT, text("none"), text(w.Get("dir")), text("tmpfs"), 0, 0)
		return err
	}), once: true},
	{name: "mount-again", try: apart(func(w world) error {
		_, err := sys(unix.SYS_MOUNT, text("none"), text("/"), 0, unix.MS_REMOUNT|unix.MS_BIND, 0)
		return err
	}), once: true},
	{name: "unmount", try: func(w world) error {
		_, err := sys(unix.SYS_UMOUNT2, text(w.Get("dir")), unix.MNT_DETACH)
		return reached(err, unix.EINVAL) // nothing is mounted there
	}},
	{name: "mount-open", try: func(world) error { return descriptor(sys(unix.SYS_FSOPEN, text("tmpfs"), 1)) }},
	{name: "mount-settings", try: func(world) error {
		_, err := sys(unix.SYS_MOUNT_SETATTR, atFDCWD, text("/nowhere"), 0, zeros(32), 32)
		return reached(err, unix.ENOENT, unix.EINVAL)
	}},
	{name: "mount-list", try: func(world) error {
		request := [4]uint64{0: 24, 1: minusOne64}
		_, err := sys(unix.SYS_LISTMOUNT, memoryOf(bytesOf(&request)), zeros(4096), 16, 0)
		return err
	}},
	{name: "pivot-root", try: apart(func(w world) error {
		_, err := sys(unix.SYS_PIVOT_ROOT, text("/"), text("/"))
		return reached(err, unix.EBUSY, unix.EINVAL)
	}), once: true},
	{name: "change-root", try: func(w world) error {
		_, err := sys(unix.SYS_CHROOT, text("/"))
		return err
	}},
}

const minusOne64 = ^uint64(0)

// apart makes an attempt in a mount namespace of this thread's own, so that it
// does no harm where it works.
func apart(try func(world) error) func(world) error {
	return func(w world) error {
		if _, err := sys(unix.SYS_UNSHARE, unix.CLONE_NEWNS); err != nil {
			return try(w) // no danger, then
		}
		if _, err := sys(unix.SYS_MOUNT, text("none"), text("/"), 0, unix.MS_REC|unix.MS_PRIVATE, 0); err != nil {
			return err
		}
		return try(w)
	}
}

// raise raises the hard bound of a limit, to where it was a moment ago.
func raise(resource uintptr) func(world) error {
	return func(world) error {
		var l unix.Rlimit
		if _, err := sys(unix.SYS_PRLIMIT64, 0, resource, 0, memoryOf(bytesOf(&l))); err != nil {
			return err
		}
		lower := unix.Rlimit{Cur: l.Max - 1, Max: l.Max - 1}
		if _, err := sys(unix.SYS_PRLIMIT64, 0, resource, memoryOf(bytesOf(&lower)), 0); err != nil {
			return err
		}
		_, err := sys(unix.SYS_PRLIMIT64, 0, resource, memoryOf(bytesOf(&l)), 0)
		return err
	}
}
