package worker

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/executor/wire"
)

// How the process ends by itself. The runtime's own fatal errors end it with 2.
const (
	exitDone    = 0 // the agent closed the socket
	exitFailed  = 1 // the sandbox was refused, or the conversation broke
	exitNoAgent = 2 // nobody is at the other end
)

// defaultMemory applies when the environment sets no memory limit.
const defaultMemory = 64 << 20

// Main serves the agent at sandbox.SocketFD until it closes the socket, and
// returns the process's exit status. The first thing it does is to give up its
// authority. The agent sets GOMEMLIMIT, GOMAXPROCS and GOGC.
func Main() int {
	if _, err := syscall.GetsockoptInt(sandbox.SocketFD, syscall.SOL_SOCKET, syscall.SO_TYPE); err != nil {
		fmt.Fprintln(os.Stderr, "picloud-executor runs functions for a PiCloud node, which starts it by itself; there is nothing to do by hand")
		return exitNoAgent
	}
	socket, hello, err := Enter()
	if err != nil {
		return failed(err)
	}
	if err := newWorker(socket).serve(hello); err != nil {
		return failed(err)
	}
	return exitDone
}

// Enter gives up the process's authority. It returns its end of the
// conversation with the agent and the frame that opens it.
func Enter() (*wire.Socket, wire.Hello, error) {
	sandbox.RunLaunch()
	memory := debug.SetMemoryLimit(-1)
	if memory <= 0 || memory > 1<<40 {
		memory = defaultMemory
		debug.SetMemoryLimit(memory)
	}
	if runtime.GOMAXPROCS(0) != 1 {
		runtime.GOMAXPROCS(1)
	}
	watchMemory(memory)
	// The socket comes first: it opens the runtime's poller, which the sandbox
	// would refuse. Nothing is read from it before the layers are on.
	if err := syscall.SetNonblock(sandbox.SocketFD, true); err != nil {
		return nil, wire.Hello{}, fmt.Errorf("prepare the socket: %w", err)
	}
	socket, err := wire.NewSocket(os.NewFile(sandbox.SocketFD, "agent"))
	if err != nil {
		return nil, wire.Hello{}, fmt.Errorf("prepare the socket: %w", err)
	}
	opts := sandbox.ParseArgs(os.Args[1:])
	opts.Memory = memory
	report, err := sandbox.Apply(opts)
	if err != nil {
		return nil, wire.Hello{}, err
	}
	hello := wire.Hello{Version: wire.Version, Layers: report.On()}
	for _, l := range report.Off() {
		hello.Missing = append(hello.Missing, wire.Missing{Layer: l.Name, Reason: l.Reason})
	}
	return socket, hello, nil
}

// failed writes the reason to stderr, which the agent keeps, and returns the exit status.
func failed(err error) int {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return exitDone // the agent is gone
	}
	fmt.Fprintln(os.Stderr, "picloud-executor:", err)
	return exitFailed
}
