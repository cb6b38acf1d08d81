package executor

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/executor/sandbox"
)

// defaultSandbox is what a node insists on here.
const defaultSandbox = SandboxStrict

// plans lists the ways to start a worker, the best first. Root that has other uids
// to give needs no user namespace to make the others, and starts a worker in half
// the time without.
func plans(without []string, uids bool) []plan {
	all := except(sandbox.Namespaces(), without)
	var list []plan
	if slices.Contains(all, sandbox.UserNamespace) {
		list = append(list, plan{name: "in namespaces of an own user namespace", namespaces: all})
	}
	if rest := except(all, []string{sandbox.UserNamespace}); os.Geteuid() == 0 && len(rest) > 0 {
		direct := plan{name: "in namespaces", namespaces: rest, powers: true}
		if uids {
			list = slices.Insert(list, 0, direct)
		} else {
			list = append(list, direct)
		}
	}
	return append(list, plan{name: "without namespaces", powers: true})
}

// except returns the names that are not in the other list.
func except(names, without []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(without, n) })
}

// cloneFlags are the kernel's names of the namespaces, and /proc's.
var cloneFlags = map[string]struct {
	flag uintptr
	file string
}{
	sandbox.UserNamespace:  {unix.CLONE_NEWUSER, "user"},
	sandbox.MountNamespace: {unix.CLONE_NEWNS, "mnt"},
	sandbox.NetNamespace:   {unix.CLONE_NEWNET, "net"},
	sandbox.PIDNamespace:   {unix.CLONE_NEWPID, "pid"},
	sandbox.IPCNamespace:   {unix.CLONE_NEWIPC, "ipc"},
	sandbox.UTSNamespace:   {unix.CLONE_NEWUTS, "uts"},
}

// attributes are what the process is started with. A launcher gets nothing: what
// it starts runs as uid 0 of its user namespace, which out here is the app's or
// the agent's own, and has capabilities, but only there.
func (p plan) attributes(uid int) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true} // signals to the agent's terminal are not for workers
	if p.launches() {
		return attr
	}
	for _, name := range p.namespaces {
		attr.Cloneflags |= cloneFlags[name].flag
	}
	if uid != noUID {
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
		attr.AmbientCaps = p.capabilities()
	}
	return attr
}

// capabilities are those that a worker of a root agent starts with under another
// uid, and drops: to empty its root and its bounding set.
func (p plan) capabilities() []uintptr {
	if !p.powers || os.Geteuid() != 0 {
		return nil
	}
	want := []uintptr{unix.CAP_SETPCAP}
	if slices.Contains(p.namespaces, sandbox.MountNamespace) {
		want = append(want, unix.CAP_SYS_ADMIN)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return nil
	}
	return slices.DeleteFunc(want, func(c uintptr) bool { return have[0].Permitted&(1<<c) == 0 })
}

// fork starts a process. What a worker needs not even for a moment is not in its
// bounding set from the start: to drop that later costs it a stop of all threads
// for each capability. The set belongs to a thread, so that one is spent on it.
func (p plan) fork(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	keep := attr.Sys.AmbientCaps
	if len(keep) == 0 {
		return syscall.ForkExec(path, argv, attr)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		for c := uintptr(0); c < 64; c++ {
			if slices.Contains(keep, c) {
				continue
			}
			if unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) != nil { // behind the last one, or not allowed: the worker tries itself
				break
			}
		}
		pid, err = syscall.ForkExec(path, argv, attr)
	}()
	<-done
	return pid, err
}

// countsByNamespace reports whether this kernel counts a user's threads within
// each user namespace, as Linux does since 5.14.
func countsByNamespace() bool {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false
	}
	major, rest, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(strings.TrimRightFunc(minor, func(r rune) bool { return r < '0' || r > '9' }))
	return errA == nil && errB == nil && (a > 5 || a == 5 && b >= 14)
}
