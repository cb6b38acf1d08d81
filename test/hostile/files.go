//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rootDir is the descriptor of / that the suite gives to runs outside the sandbox.
const rootDir = 5

var files = []attempt{
	{name: "open-passwd", try: open("/etc/passwd")},
	{name: "open-maps", try: open("/proc/self/maps")},
	{name: "open-relative", try: open("etc/passwd")},
	{name: "open-parent", try: open("../../../../etc/passwd")},
	{name: "open-own-program", try: open("/proc/self/exe")},
	{name: "open-descriptor", try: open("/proc/self/fd/0")},
	{name: "open-null", try: open("/dev/null")},
	{name: "open-random", try: open("/dev/urandom")},
	{name: "open-memory", try: open("/dev/mem")},
	{name: "open-terminal", try: open("/dev/ptmx")},
	{name: "open-folder", try: openWith("/", unix.O_DIRECTORY)},
	{name: "open-path", try: openWith("/", unix.O_PATH)},
	{name: "open-path-file", try: openWith("/etc/passwd", unix.O_PATH)},
	{name: "open-unnamed", try: func(w world) error {
		return descriptor(sys(unix.SYS_OPENAT, atFDCWD, text(w.Get("dir")), unix.O_RDWR|unix.O_TMPFILE, 0o600))
	}},
	{name: "open-inherited", try: openInherited},
	{name: "open-2", try: func(world) error {
		how := unix.OpenHow{Flags: unix.O_RDONLY}
		return descriptor(sys(unix.SYS_OPENAT2, atFDCWD, text("/etc/passwd"), memoryOf(bytesOf(&how)), unsafe.Sizeof(how)))
	}},
	{name: "open-handle", try: openHandle},
	{name: "open-tree", try: func(world) error {
		return descriptor(sys(unix.SYS_OPEN_TREE, atFDCWD, text("/"), unix.OPEN_TREE_CLOEXEC))
	}},
	{name: "create", try: openNew},
	{name: "stat", try: func(world) error {
		var st unix.Statx_t
		_, err := sys(unix.SYS_STATX, atFDCWD, text("/etc/passwd"), 0, unix.STATX_ALL, memoryOf(bytesOf(&st)))
		return err
	}},
	{name: "statfs", try: func(world) error { _, err := sys(unix.SYS_STATFS, text("/"), zeros(256)); return err }},
	{name: "access", try: func(world) error { _, err := sys(unix.SYS_FACCESSAT, atFDCWD, text("/etc/passwd"), 4); return err }},
	{name: "access-2", try: func(world) error { _, err := sys(unix.SYS_FACCESSAT2, atFDCWD, text("/etc/passwd"), 4, 0); return err }},
	{name: "read-link", try: func(world) error {
		_, err := sys(unix.SYS_READLINKAT, atFDCWD, text("/proc/self/exe"), zeros(512), 512)
		return err
	}},
	{name: "working-folder", try: func(world) error { _, err := sys(unix.SYS_GETCWD, zeros(512), 512); return err }},
	{name: "change-folder", try: func(w world) error { _, err := sys(unix.SYS_CHDIR, text("/proc")); return err }, once: true},
	{name: "make-folder", try: func(w world) error { _, err := sys(unix.SYS_MKDIRAT, atFDCWD, text(w.file("made")), 0o700); return err }},
	{name: "make-pipe", try: func(w world) error {
		_, err := sys(unix.SYS_MKNODAT, atFDCWD, text(w.file("pipe")), unix.S_IFIFO|0o600, 0)
		return err
	}},
	{name: "make-device", try: func(w world) error {
		_, err := sys(unix.SYS_MKNODAT, atFDCWD, text(w.file("device")), unix.S_IFCHR|0o600, 1<<8|3)
		return err
	}},
	{name: "make-link", try: func(w world) error {
		_, err := sys(unix.SYS_SYMLINKAT, text("/etc/passwd"), atFDCWD, text(w.file("link")))
		return err
	}},
	{name: "remove", try: onFile(func(path string) error { _, err := sys(unix.SYS_UNLINKAT, atFDCWD, text(path), 0); return err })},
	{name: "rename", try: onFile(func(path string) error {
		_, err := sys(unix.SYS_RENAMEAT2, atFDCWD, text(path), atFDCWD, text(path+"-renamed"), 0)
		return err
	})},
	{name: "hard-link", try: onFile(func(path string) error {
		_, err := sys(unix.SYS_LINKAT, atFDCWD, text(path), atFDCWD, text(path+"-linked"), 0)
		return err
	})},
	{name: "change-mode", try: onFile(func(path string) error { _, err := sys(unix.SYS_FCHMODAT, atFDCWD, text(path), 0o777); return err })},
	{name: "change-owner", try: onFile(func(path string) error {
		_, err := sys(unix.SYS_FCHOWNAT, atFDCWD, text(path), minusOne, uintptr(unix.Getgid()), 0)
		return err
	})},
	{name: "cut-file", try: onFile(func(path string) error { _, err := sys(unix.SYS_TRUNCATE, text(path), 0); return err })},
	{name: "touch", try: onFile(func(path string) error { _, err := sys(unix.SYS_UTIMENSAT, atFDCWD, text(path), 0, 0); return err })},
	{name: "attribute", try: onFile(func(path string) error {
		_, err := sys(unix.SYS_SETXATTR, text(path), text("user.picloud"), text("1"), 1, 0)
		return err
	})},
	{name: "change-own-mode", try: call(unix.SYS_FCHMOD, 3, 0o777)},
	{name: "watch-files", try: opening(unix.SYS_INOTIFY_INIT1, unix.IN_CLOEXEC)},
	{name: "watch-machine", try: opening(unix.SYS_FANOTIFY_INIT, unix.FAN_CLOEXEC, unix.O_RDONLY)},
}

func open(path string) func(world) error { return openWith(path, unix.O_RDONLY) }

func openWith(path string, flags uintptr) func(world) error {
	return func(world) error {
		return descriptor(sys(unix.SYS_OPENAT, atFDCWD, text(path), flags|unix.O_CLOEXEC, 0))
	}
}

// openInherited looks for a folder among all descriptors there can be.
func openInherited(world) error {
	var last error
	for fd := range uintptr(64) {
		err := descriptor(sys(unix.SYS_OPENAT, fd, text("etc/passwd"), unix.O_RDONLY|unix.O_CLOEXEC))
		if err == nil || !errors.Is(err, unix.EBADF) && !errors.Is(err, unix.ENOTDIR) {
			return err
		}
		last = err
	}
	return last
}

// openHandle opens a file by the handle that names it without any path. The
// handle of a root folder is easily guessed, so that inside one is made up.
func openHandle(world) error {
	handle := memoryOf([]byte{0: 8, 4: 1, 8: 2, 127: 0})
	if h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/etc/passwd", 0); err == nil {
		handle = memoryOf(append(bytesOf(&struct {
			size uint32
			kind int32
		}{uint32(h.Size()), h.Type()}), h.Bytes()...))
	}
	return descriptor(sys(unix.SYS_OPEN_BY_HANDLE_AT, rootDir, handle, unix.O_RDONLY))
}

func openNew(w world) error {
	return descriptor(sys(unix.SYS_OPENAT, atFDCWD, text(w.file("new")), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600))
}

// onFile makes a file if it can, and an attempt on it.
func onFile(try func(path string) error) func(world) error {
	return func(w world) error {
		_ = openNew(w)
		return try(w.file("new"))
	}
}

// bytesOf is the memory of a value.
func bytesOf[T any](v *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) }
