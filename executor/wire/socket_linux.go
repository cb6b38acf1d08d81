package wire

import (
	"io"
	"os"
	"syscall"
	"unsafe"
)

// Socket is a stream socket in non-blocking mode whose reads and writes are invisible
// to the scheduler. They cannot block, and to announce each of them would cost more
// than the call itself: when the runtime's monitor finds a thread of a process with
// GOMAXPROCS=1 in a system call, it hands the processor to another thread.
//
// One goroutine may read while another writes.
type Socket struct {
	*os.File
	raw syscall.RawConn

	in, out         []byte
	inN, outN       int
	inErr, outErr   syscall.Errno
	readIt, writeIt func(fd uintptr) bool
}

// NewSocket returns a socket for f, which must be in non-blocking mode.
func NewSocket(f *os.File) (*Socket, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{File: f, raw: raw}
	s.readIt = func(fd uintptr) bool {
		s.inN, s.inErr = transfer(syscall.SYS_READ, fd, s.in)
		return s.inErr != syscall.EAGAIN
	}
	s.writeIt = func(fd uintptr) bool {
		s.outN, s.outErr = transfer(syscall.SYS_WRITE, fd, s.out)
		return s.outErr != syscall.EAGAIN
	}
	return s, nil
}

// transfer reads or writes without telling the scheduler.
func transfer(call, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// Read implements io.Reader.
func (s *Socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.in = p
	err := s.raw.Read(s.readIt)
	s.in = nil
	switch {
	case err != nil:
		return 0, err
	case s.inErr != 0:
		return 0, &os.PathError{Op: "read", Path: s.Name(), Err: s.inErr}
	case s.inN == 0:
		return 0, io.EOF
	}
	return s.inN, nil
}

// Write implements io.Writer.
func (s *Socket) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		s.out = p[done:]
		err := s.raw.Write(s.writeIt)
		s.out = nil
		if err == nil && s.outErr != 0 {
			err = &os.PathError{Op: "write", Path: s.Name(), Err: s.outErr}
		}
		if err != nil {
			return done, err
		}
		done += s.outN
	}
	return done, nil
}
