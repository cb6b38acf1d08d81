//go:build unix && !linux

package spawn

import (
	"syscall"

	"github.com/picloud/picloud/executor/sandbox"
)

// DefaultMode is the mode of the sandbox here: other systems are for development.
const DefaultMode = BestEffort

func plans([]string, bool) []plan { return []plan{{name: "without namespaces"}} }

func (plan) attributes(uid int) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true} // signals to the agent's terminal are not for workers
	if uid != NoUID {
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	return attr
}

func (plan) fork(path string, argv []string, attr *syscall.ProcAttr) (int, error) {
	return syscall.ForkExec(path, argv, attr)
}

func (*image) launch([]string, *syscall.ProcAttr) (int, error) {
	return 0, syscall.ENOSYS
}

func (plan) order(int) sandbox.Launch { return sandbox.Launch{} }

func countsByNamespace() bool { return false }

func inspect(int, *Sandbox, int) {}
