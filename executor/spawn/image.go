//go:build unix

package spawn

import (
	"fmt"
	"os"
	"syscall"
)

// image is the worker's program, opened once: a rebuilt or removed file changes
// nothing for this node, and the path need not be reachable for a worker's uid.
type image struct {
	name string   // for people
	path string   // to execute, as the new process sees it
	file *os.File // it has this as sandbox.ImageFD
	null *os.File
}

func openImage(name string) (*image, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		_ = file.Close()
		return nil, fmt.Errorf("open %q: it is not an executable file", name)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &image{name: name, path: imagePath(name), file: file, null: null}, nil
}

func (i *image) close() {
	_ = i.file.Close()
	_ = i.null.Close()
}

// quietPipe returns a pipe that never blocks: the kernel drops what the writer adds
// to a full pipe, and the reader gets what the pipe holds.
func quietPipe() (r, w int, err error) {
	var p [2]int
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := syscall.Pipe(p[:]); err != nil {
		return 0, 0, fmt.Errorf("make a pipe: %w", err)
	}
	closeOnExec(p)
	return p[0], p[1], nil
}

// socketPair returns two connected stream sockets that do not block.
func socketPair() (ours, theirs int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	p, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("make a socket pair: %w", err)
	}
	closeOnExec(p)
	return p[0], p[1], nil
}

func closeOnExec(fds [2]int) {
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
		_ = syscall.SetNonblock(fd, true) // it fails for bad descriptors only
	}
}
