//go:build unix

package spawn

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/executor/wire"
)

// maxStderr is how much of a worker's stderr is kept, in bytes: the beginning and
// the end, where the Go runtime says why it ends the process.
const maxStderr = 4 << 10

// Process is a worker's process. Kill may be called at any time; Reap once.
type Process struct {
	pid    int
	stderr int // read end of a pipe that never blocks the worker

	mu     sync.Mutex
	reaped bool
}

// processName is the name of the process, for people who list processes.
const processName = "picloud-executor"

// environment is all that a worker gets. One thread runs Go code: more would let
// one app take more than its share, and a hot app gets more workers instead. A
// worker's garbage is short-lived, so that collecting it less often pays; the
// memory limit still holds. Traces would overflow the pipe and hide the reason.
func environment(memory int64) []string {
	return []string{
		"GOMAXPROCS=1", "GOGC=400", "GOTRACEBACK=none",
		// The runtime would keep files of the cgroup open, and name its memory.
		"GODEBUG=containermaxprocs=0,updatemaxprocs=0,decoratemappings=0",
		"GOMEMLIMIT=" + strconv.FormatInt(memory, 10),
	}
}

// run starts a worker as planned, under the uid unless that is NoUID, and returns
// it with the agent's end of its socket.
func (i *image) run(args []string, memory int64, uid int, p plan) (*Process, *wire.Socket, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	defer syscall.Close(theirs)
	socket, err := wire.NewSocket(os.NewFile(uintptr(ours), "worker"))
	if err != nil {
		_ = syscall.Close(ours)
		return nil, nil, fmt.Errorf("prepare a socket: %w", err)
	}
	stderr, theirStderr, err := quietPipe()
	if err != nil {
		_ = socket.Close()
		return nil, nil, err
	}
	defer syscall.Close(theirStderr)
	attr := &syscall.ProcAttr{
		Dir: "/", Env: environment(memory),
		Files: []uintptr{i.null.Fd(), i.null.Fd(), uintptr(theirStderr), sandbox.SocketFD: uintptr(theirs), sandbox.ImageFD: i.file.Fd()},
		Sys:   p.attributes(uid),
	}
	argv := append([]string{processName}, args...)
	var pid int
	if p.launches() {
		pid, err = i.launch(append(argv, p.order(uid).Arg()), attr)
	} else {
		pid, err = p.fork(i.path, argv, attr)
	}
	if err != nil {
		_ = socket.Close()
		_ = syscall.Close(stderr)
		return nil, nil, fmt.Errorf("execute %q: %w", i.name, err)
	}
	return &Process{pid: pid, stderr: stderr}, socket, nil
}

// PID returns the number of the process, by which people find it.
func (p *Process) PID() int { return p.pid }

// Kill ends the process and its children at once. After Reap it does nothing.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped { // afterwards the kernel may give the number to another process
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

// Reap ends the process, unless it has ended already, and returns how it ended. A
// worker that closed its socket gets no time to explain itself.
func (p *Process) Reap() Death {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out Death
	for {
		pid, err := syscall.Wait4(p.pid, &out.status, syscall.WNOHANG, &out.usage)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid == p.pid {
			break
		}
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		for {
			if _, err := syscall.Wait4(p.pid, &out.status, 0, &out.usage); err != syscall.EINTR {
				break
			}
		}
		break
	}
	p.reaped = true
	out.Stderr = p.readStderr()
	_ = syscall.Close(p.stderr)
	return out
}

// readStderr reads what the pipe holds, and keeps the first and the last of it.
func (p *Process) readStderr() string {
	var all []byte
	chunk := make([]byte, maxStderr)
	for len(all) < 64<<10 {
		n, err := syscall.Read(p.stderr, chunk)
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			break
		}
		all = append(all, chunk[:n]...)
	}
	if len(all) > maxStderr {
		all = append(append(all[:maxStderr/2:maxStderr/2], "\n…\n"...), all[len(all)-maxStderr/2:]...)
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(all), "\uFFFD"))
}
