package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// RunLaunch carries out a Launch among the arguments, and ends the process. Without a
// Launch it does nothing. It is the first act of a worker's main.
func RunLaunch() {
	order, args, ok := launchIn(os.Args)
	if !ok {
		return
	}
	ids := func(id int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
	}
	syscall.CloseOnExec(LaunchFD)
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", ImageFD), args, &syscall.ProcAttr{ //nolint:gosec // the agent gives the arguments
		Dir: "/", Env: os.Environ(), Files: []uintptr{0, 1, 2, SocketFD, ImageFD},
		Sys: &syscall.SysProcAttr{
			// The agent becomes the parent. Until the worker makes a process group of its
			// own it is in the group of this process, by which the agent can end a
			// worker whose start failed.
			Cloneflags:                 order.Flags | syscall.CLONE_PARENT,
			UidMappings:                ids(order.UID),
			GidMappings:                ids(order.GID),
			GidMappingsEnableSetgroups: order.Groups, // a launcher that may not drop its groups must set "deny"
			Credential:                 &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: !order.Groups},
		},
	})
	answer, status := strconv.Itoa(pid), 0
	if err != nil {
		answer, status = err.Error(), 1
	}
	_, _ = syscall.Write(LaunchFD, []byte(answer)) // without an answer the agent ends the launcher and the worker
	os.Exit(status)
}
