package spawn

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

// DefaultMode is the mode of the sandbox on Linux.
const DefaultMode = Strict

// plans lists the ways to start a worker, the best first. Root with other uids for
// its workers makes the other namespaces without a user namespace, and starts a
// worker in half the time.
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

// attributes are what the process is started with. A launcher gets no attributes:
// the worker that it starts runs as uid 0 of its user namespace, which is the app's
// or the agent's own uid outside. Its capabilities hold inside that namespace only.
func (p plan) attributes(uid int) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true} // signals to the agent's terminal are not for workers
	if p.launches() {
		return attr
	}
	for _, name := range p.namespaces {
		attr.Cloneflags |= cloneFlags[name].flag
	}
	if uid != NoUID {
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
		attr.AmbientCaps = p.capabilities()
	}
	return attr
}

// capabilities are those that a worker of a root agent starts with under another
// uid. The worker uses them to empty its root and its bounding set, and drops them.
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

// fork starts a process whose bounding set holds only the capabilities that the
// worker needs at its start: to drop the others later would stop all of its threads
// once for each capability. A bounding set belongs to a thread, so fork uses up one
// thread of the agent.
func (p plan) fork(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	keep := attr.Sys.AmbientCaps
	if len(keep) == 0 {
		return syscall.ForkExec(path, argv, attr)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for c := range uintptr(64) {
			if slices.Contains(keep, c) {
				continue
			}
			if unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) != nil { // past the last capability, or not allowed: the worker drops the rest itself
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
