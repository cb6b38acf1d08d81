package executor

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/executor/sandbox"
)

// defaultSandbox is what a node insists on here.
const defaultSandbox = SandboxStrict

// plans lists the ways to start a worker, the best first.
func plans(without []string) []plan {
	all := except(sandbox.Namespaces(), without)
	var list []plan
	if slices.Contains(all, sandbox.UserNamespace) {
		list = append(list, plan{name: "in namespaces of an own user namespace", namespaces: all})
	}
	list = append(list, plan{name: "without namespaces", powers: true})
	if rest := except(all, []string{sandbox.UserNamespace}); os.Geteuid() == 0 && len(rest) > 0 {
		list = slices.Insert(list, len(list)-1, plan{name: "in namespaces", namespaces: rest, powers: true})
	}
	return list
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
		if p.powers {
			attr.AmbientCaps = p.capabilities()
		}
	}
	return attr
}

// capabilities are those that a worker of a root agent starts with under another
// uid, and drops: to empty its root and its bounding set.
func (p plan) capabilities() []uintptr {
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
