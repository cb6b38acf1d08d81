package sandbox

import (
	"slices"
	"strings"
)

// The layers that a worker puts on itself, as Hello names them.
const (
	// NoNewPrivs: no exec can gain privileges any more.
	NoNewPrivs = "no_new_privs"
	// Rlimits: memory, open files, file size and core dumps are bounded.
	Rlimits = "rlimits"
	// Capabilities: no thread has any, or can get one.
	Capabilities = "capabilities"
	// Seccomp: the kernel answers only the system calls of the Go runtime.
	Seccomp = "seccomp"
	// Landlock: no file can be opened, no TCP port bound or connected to.
	Landlock = "landlock"
	// EmptyRoot: the root folder is empty and read-only.
	EmptyRoot = "empty_root"
)

// The layers that the agent gives a worker when it starts it.
const (
	// OwnUID: the process runs as a user that owns nothing else.
	OwnUID = "own_uid"
	// UserNamespace: the process has no authority outside of its namespaces. It
	// is the means for the others.
	UserNamespace = "user_namespace"
	// MountNamespace: mounts are the process's own; the means for EmptyRoot.
	MountNamespace = "mount_namespace"
	// NetNamespace: the only network is a loopback that is down.
	NetNamespace = "net_namespace"
	// PIDNamespace: other processes have no number here.
	PIDNamespace = "pid_namespace"
	// IPCNamespace: shared memory and queues of others are not seen.
	IPCNamespace = "ipc_namespace"
	// UTSNamespace: host and domain name are a copy.
	UTSNamespace = "uts_namespace"
)

// Own returns the layers that Apply puts on, in its order.
func Own() []string {
	return []string{Rlimits, NoNewPrivs, EmptyRoot, Capabilities, Landlock, Seccomp}
}

// Namespaces returns the layers that are namespaces.
func Namespaces() []string {
	return []string{UserNamespace, MountNamespace, NetNamespace, PIDNamespace, IPCNamespace, UTSNamespace}
}

// Lacks returns what strict requires beside the layers that are on. Each inner list
// holds alternatives, of which strict requires one: each layer of Required stands
// alone; Landlock and EmptyRoot both keep files away, and neither exists everywhere.
func Lacks(on []string) [][]string {
	var out [][]string
	for _, name := range Required() {
		if !slices.Contains(on, name) {
			out = append(out, []string{name})
		}
	}
	if !slices.Contains(on, Landlock) && !slices.Contains(on, EmptyRoot) {
		out = append(out, []string{Landlock, EmptyRoot})
	}
	return out
}

// Needs reports whether a layer is among the alternatives that Lacks returns.
func Needs(lacks [][]string, layer string) bool {
	return slices.ContainsFunc(lacks, func(either []string) bool { return slices.Contains(either, layer) })
}

// DescribeLacks says for people what Lacks returned: "seccomp, landlock or empty_root".
func DescribeLacks(lacks [][]string) string {
	texts := make([]string, len(lacks))
	for i, either := range lacks {
		texts[i] = strings.Join(either, " or ")
	}
	return strings.Join(texts, ", ")
}

// Meaning says in a few words what a layer takes from a worker.
func Meaning(name string) string {
	switch name {
	case NoNewPrivs:
		return "nothing can give it privileges"
	case Rlimits:
		return "memory, descriptors, file size and threads are bounded"
	case Capabilities:
		return "no thread has a capability"
	case Seccomp:
		return "the kernel answers only the system calls of the Go runtime"
	case Landlock:
		return "no file, TCP port or foreign process is within reach"
	case EmptyRoot:
		return "its root folder is empty and read-only"
	case OwnUID:
		return "its user owns no file and no other process"
	case UserNamespace:
		return "it is nobody outside of its namespaces"
	case MountNamespace:
		return "its mounts are its own"
	case NetNamespace:
		return "it has no network"
	case PIDNamespace:
		return "it sees no other process"
	case IPCNamespace:
		return "it shares no memory segment or queue"
	case UTSNamespace:
		return "it cannot change the machine's host name"
	}
	return ""
}

// Remedy says what a person can do when a layer is missing.
func Remedy(name string) string {
	const namespaces = "allow user namespaces for the node (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, " +
		"kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile with userns; in a container a seccomp profile that lets clone make them), or run it as root"
	switch name {
	case Landlock:
		return "use a kernel with CONFIG_SECURITY_LANDLOCK and landlock in its lsm= list; where " + EmptyRoot + " is on, none is needed"
	case EmptyRoot, UserNamespace, MountNamespace, NetNamespace, PIDNamespace, IPCNamespace, UTSNamespace:
		return namespaces
	case OwnUID:
		return "run the node as root, with the uids 70000 to 74095 in its user namespace"
	case Seccomp:
		return "use a kernel with CONFIG_SECCOMP_FILTER, on amd64, arm64 or arm"
	case Capabilities, NoNewPrivs, Rlimits:
		return "use an executor built with CGO_ENABLED=0, and mount /proc"
	}
	return ""
}

// Required returns the layers of its own without which no strict worker starts.
func Required() []string { return []string{NoNewPrivs, Rlimits, Capabilities, Seccomp} }
