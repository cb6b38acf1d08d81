//go:build linux && (amd64 || arm64)

package main

import "golang.org/x/sys/unix"

// many is how many descriptors an attempt wants to have: more than a worker may.
const many = 64

var descriptors = []attempt{
	{name: "descriptors-dup", try: hoard(unix.SYS_DUP, 0)},
	{name: "descriptors-fcntl", try: hoard(unix.SYS_FCNTL, 0, unix.F_DUPFD_CLOEXEC, 0)},
	{name: "descriptors-event", try: hoard(unix.SYS_EVENTFD2, 0, unix.EFD_CLOEXEC)},
	{name: "descriptors-epoll", try: hoard(unix.SYS_EPOLL_CREATE1, unix.EPOLL_CLOEXEC)},
	{name: "descriptors-timer", try: hoard(unix.SYS_TIMERFD_CREATE, unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)},
	{name: "descriptors-signal", try: func(w world) error {
		return hoard(unix.SYS_SIGNALFD4, minusOne, zeros(8), 8, unix.SFD_CLOEXEC)(w)
	}},
	{name: "descriptors-pipe", try: func(world) error {
		ends := make([]int32, 0, many)
		defer func() {
			for _, fd := range ends {
				_ = unix.Close(int(fd))
			}
		}()
		for range many / 2 {
			var two [2]int32
			b := bytesOf(&two)
			kept = append(kept, b)
			if _, err := sys(unix.SYS_PIPE2, memoryOf(b), unix.O_CLOEXEC); err != nil {
				return err
			}
			ends = append(ends, two[0], two[1])
		}
		return nil
	}},
	{name: "descriptor-over-socket", try: func(world) error {
		_, err := sys(unix.SYS_DUP3, 0, 63, unix.O_CLOEXEC)
		return err
	}},
	{name: "splice", try: func(world) error {
		_, err := sys(unix.SYS_SPLICE, 3, 0, 3, 0, 1, unix.SPLICE_F_NONBLOCK)
		return reached(err, unix.EINVAL) // it is no pipe
	}},
	{name: "send-file", try: func(world) error {
		_, err := sys(unix.SYS_SENDFILE, 0, 0, 0, 1)
		return reached(err, unix.EINVAL, unix.EBADF)
	}},
	{name: "type-into-terminal", try: typeInto},
	{name: "io-uring", try: func(world) error { return descriptor(sys(unix.SYS_IO_URING_SETUP, 1, zeros(120))) }},
	{name: "asynchronous-io", try: func(world) error { _, err := sys(unix.SYS_IO_SETUP, 1, zeros(8)); return err }},
	{name: "message-queue", try: func(world) error {
		fd, err := sys(unix.SYS_MQ_OPEN, text("picloud-hostile"), unix.O_CREAT|unix.O_RDWR, 0o600, 0)
		if err == nil {
			_, err = sys(unix.SYS_MQ_UNLINK, text("picloud-hostile"))
		}
		return descriptor(fd, err)
	}},
}

// hoard returns an attempt to have many descriptors of one kind.
func hoard(number uintptr, args ...uintptr) func(world) error {
	return func(world) error {
		var held [many]uintptr
		for i := range held {
			fd, err := sys(number, args...)
			if err != nil {
				for _, fd := range held[:i] {
					_ = unix.Close(int(fd))
				}
				return err
			}
			held[i] = fd
		}
		for _, fd := range held {
			_ = unix.Close(int(fd))
		}
		return nil
	}
}

// typeInto types a character into a terminal: one of its own, or else what the
// worker has as stdio.
func typeInto(world) error {
	terminal, err := sys(unix.SYS_OPENAT, atFDCWD, text("/dev/ptmx"), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if err == nil {
		defer unix.Close(int(terminal))
		_, err := sys(unix.SYS_IOCTL, terminal, unix.TIOCSTI, text("x"))
		return err
	}
	var last error
	for fd := range uintptr(4) {
		if _, last = sys(unix.SYS_IOCTL, fd, unix.TIOCSTI, text("x")); last == nil {
			return nil
		}
	}
	return last
}
