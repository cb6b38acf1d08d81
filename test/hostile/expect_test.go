//go:build linux && (amd64 || arm64)

package main

import "golang.org/x/sys/unix"

// lacking are attempts that need not work outside the sandbox, with the answers
// of a kernel that was built or set up without them. It may not grow unseen: an
// attempt that fails outside and is not here fails the suite.
var lacking = map[string]string{
	"open-memory":       "ENOENT EPERM",      // no /dev/mem, or locked down
	"ping-socket":       "EACCES",            // sysctl net.ipv4.ping_group_range
	"crypto-socket":     "EAFNOSUPPORT",      // CONFIG_CRYPTO_USER_API
	"vsock":             "EAFNOSUPPORT",      // CONFIG_VSOCKETS
	"memory-huge":       "ENOMEM",            // no huge pages are set aside
	"memory-keys":       "EINVAL ENOSPC",     // the processor has none
	"memory-droppable":  "EINVAL",            // before Linux 6.11
	"memory-secret":     "ENOSYS",            // secretmem.enable=0
	"module-load":       "ENOSYS",            // CONFIG_MODULES
	"module-unload":     "ENOSYS",            // the same
	"kernel-load":       "ENOSYS",            // CONFIG_KEXEC
	"foreign-number":    "killed ENOSYS",     // CONFIG_IA32_EMULATION
	"foreign-socket":    "killed ENOSYS",     // the same
	"foreign-x32":       "ENOSYS",            // CONFIG_X86_X32_ABI
	"ports":             "ENOSYS",            // CONFIG_X86_IOPL_IOPERM
	"port":              "ENOSYS",            // the same
	"io-uring":          "EPERM ENOSYS",      // sysctl kernel.io_uring_disabled
	"memory-faults":     "ENOSYS",            // CONFIG_USERFAULTFD
	"performance":       "EACCES ENOENT",     // sysctl kernel.perf_event_paranoid
	"victim-trace":      "EPERM",             // sysctl kernel.yama.ptrace_scope
	"victim-attach":     "EPERM",             // the same
	"victim-memory":     "EPERM",             // the same
	"victim-write":      "EPERM",             // the same
	"victim-descriptor": "EPERM",             // the same
	"fork-namespaces":   "EPERM ENOSPC",      // sysctl user.max_user_namespaces
	"attribute":         "EOPNOTSUPP",        // the file system has none
	"restrict":          "ENOSYS EOPNOTSUPP", // CONFIG_SECURITY_LANDLOCK
	"lock-wait-many":    "ENOSYS",            // before Linux 5.16
	"mount-list":        "ENOSYS",            // before Linux 6.8
	"agent-peer":        "ENOPROTOOPT",       // before Linux 6.5
	"tcp6":              "EADDRNOTAVAIL ENETUNREACH",
}

// needs are attempts that work outside the sandbox only with a capability.
var needs = map[string]int{
	"open-handle":           unix.CAP_DAC_READ_SEARCH,
	"open-memory":           unix.CAP_SYS_RAWIO,
	"make-device":           unix.CAP_MKNOD,
	"watch-machine":         unix.CAP_SYS_ADMIN,
	"victim-advice":         unix.CAP_SYS_NICE,
	"raw-socket":            unix.CAP_NET_RAW,
	"packet-socket":         unix.CAP_NET_RAW,
	"type-into-terminal":    unix.CAP_SYS_ADMIN,
	"init-status":           unix.CAP_SYS_PTRACE, // where /proc hides others
	"agent-environment":     unix.CAP_SYS_PTRACE,
	"agent-memory":          unix.CAP_SYS_PTRACE,
	"agent-maps":            unix.CAP_SYS_PTRACE,
	"agent-descriptor":      unix.CAP_SYS_PTRACE,
	"thread-own-network":    unix.CAP_SYS_ADMIN,
	"thread-own-namespace":  unix.CAP_SYS_ADMIN,
	"user-root":             unix.CAP_SETUID,
	"user-set":              unix.CAP_SETUID,
	"user-real-effective":   unix.CAP_SETUID,
	"user-files":            unix.CAP_SETUID,
	"group-root":            unix.CAP_SETGID,
	"group-set":             unix.CAP_SETGID,
	"groups":                unix.CAP_SETGID,
	"capabilities":          unix.CAP_CHOWN,
	"capabilities-bounding": unix.CAP_SETPCAP,
	"control-memory":        unix.CAP_SYS_RESOURCE,
	"limit-raise":           unix.CAP_SYS_RESOURCE,
	"faster":                unix.CAP_SYS_NICE,
	"real-time":             unix.CAP_SYS_NICE,
	"namespace-network":     unix.CAP_SYS_ADMIN,
	"namespace-mount":       unix.CAP_SYS_ADMIN,
	"namespace-process":     unix.CAP_SYS_ADMIN,
	"namespace-enter":       unix.CAP_SYS_ADMIN,
	"mount":                 unix.CAP_SYS_ADMIN,
	"mount-again":           unix.CAP_SYS_ADMIN,
	"unmount":               unix.CAP_SYS_ADMIN,
	"mount-open":            unix.CAP_SYS_ADMIN,
	"mount-settings":        unix.CAP_SYS_ADMIN,
	"pivot-root":            unix.CAP_SYS_ADMIN,
	"change-root":           unix.CAP_SYS_CHROOT,
	"bpf":                   unix.CAP_BPF,
	"module-load":           unix.CAP_SYS_MODULE,
	"module-unload":         unix.CAP_SYS_MODULE,
	"kernel-load":           unix.CAP_SYS_BOOT,
	"kernel-log":            unix.CAP_SYSLOG,
	"swap":                  unix.CAP_SYS_ADMIN,
	"accounting":            unix.CAP_SYS_PACCT,
	"clock-set":             unix.CAP_SYS_TIME,
	"clock-zone":            unix.CAP_SYS_TIME,
	"clock-adjust":          unix.CAP_SYS_TIME,
	"reboot":                unix.CAP_SYS_BOOT,
	"host-name":             unix.CAP_SYS_ADMIN,
	"hang-up":               unix.CAP_SYS_TTY_CONFIG,
	"ports":                 unix.CAP_SYS_RAWIO,
	"port":                  unix.CAP_SYS_RAWIO,
}

// refused is what an attempt is answered with inside the sandbox.
const refused = "EPERM"

// refusals are the other answers.
var refusals = map[string]string{
	// A process whose heap exceeds its limit ends itself.
	"memory-heap":       "memory_limit: exit status 2",
	"memory-map":        "ENOMEM",
	"memory-droppable":  "ENOMEM",
	"queue-own-signals": "EAGAIN",
	"thread-many":       "crash: exit status 2", // the Go runtime cannot go on
	"thread-bomb":       "EAGAIN",
	// Calls of another kind end it, by the kernel's.
	"foreign-number": "crash: signal: bad system call",
	"foreign-socket": "crash: signal: bad system call",
	// Stdout is /dev/null, and stderr a pipe that holds 64 KiB and never blocks.
	"output-flood": done,
	"error-flood":  "EAGAIN",
}

// known are attempts that get through, and why nothing can be done.
var known = map[string]string{
	"memory-spread-maps": "each map of one page costs the kernel two of page tables, which only a cgroup counts: " +
		"at most 2.7 times the worker's memory limit, and vm.max_map_count times 8 KiB",
}

// byUser are attempts whose bound counts what all processes of a user have: it is
// set where a worker's user, or its user namespace, is its own.
var byUser = []string{"thread-bomb", "thread-many", "queue-own-signals"}

func refusal(name string) string {
	if answer, ok := refusals[name]; ok {
		return answer
	}
	return refused
}

// answered are the system calls that the kernel looks at whatever their arguments.
var answered = []int{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_EPOLL_PWAIT, unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_SCHED_YIELD,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGACTION, unix.SYS_SIGALTSTACK,
	unix.SYS_MUNMAP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETRANDOM, unix.SYS_RESTART_SYSCALL,
}

// onlySeccomp are the attempts that no other layer stops. With seccomp alone gone
// they reach the kernel, and its holes, but no file, no process and no network
// address of anybody.
var onlySeccomp = []string{
	"open-path", "open-tree", "statfs", "working-folder", "change-own-mode", "watch-files",
	"agent-peer", "agent-peer-id",
	"move-victim", "own-session", "own-group",
	"netlink", "vsock", "unix-pair", "agent-socket-name", "agent-socket-peer", "agent-socket-accept",
	"agent-socket-option", "agent-socket-shutdown", "agent-socket-receive", "agent-socket-send", "interfaces",
	"splice", "send-file", "asynchronous-io",
	"execute-domain", "fork", "fork-shared", "fork-vm", "fork-namespaces", "fork-3", "fork-bomb",
	"thread-own-files", "thread-own-folder", "thread-untraced", "thread-3", "share-files", "share-folder",
	"lock-priority", "lock-requeue", "lock-wait-many", "barrier-everywhere",
	"memory-stack", "memory-shared", "memory-shared-page", "memory-page-tables", "memory-system-v", "semaphore-system-v",
	"queue-system-v", "memory-file", "memory-secret", "memory-keys", "memory-nodes", "memory-merge", "memory-faults", "code-map",
	"code-map-writable", "code-protect", "code-protect-writable", "code-protect-key", "code-by-reading",
	"user-root", "user-set", "user-real-effective", "user-files", "group-root", "group-set", "capabilities-ambient",
	"control-dumpable", "control-seccomp", "control-tracer", "control-reaper", "control-name", "control-death",
	"control-speculation", "filter", "restrict", "limit-stack", "limit-set", "schedule", "choose-core", "namespace-user",
	"mount-list",
	"performance", "key-add", "key-ring", "key-request", "processor-restart",
	"sync", "alarm", "output-flood",
	"foreign-number", "foreign-socket", "old-fork", "old-vfork", "old-pipe", "segments", "segment-base",
}
