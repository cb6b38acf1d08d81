//go:build linux && (amd64 || arm64 || arm)

package sandbox

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/picloud/picloud/internal/hook"
)

const refusalOfTests = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)

// decide runs a filter as the kernel does, on the instructions that we use.
func decide(t require.TestingT, filter []unix.SockFilter, arch, number uint32, args [6]uint64) uint32 {
	var acc uint32
	for pc := 0; pc < len(filter); pc++ {
		switch i := filter[pc]; i.Code {
		case opLoad:
			switch i.K {
			case offsetNumber:
				acc = number
			case offsetArch:
				acc = arch
			default:
				n := i.K - offsetArgs
				acc = uint32(args[n/8] >> (8 * (n % 8)))
			}
		case opAnd:
			acc &= i.K
		case opEqual:
			if acc == i.K {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		case opReturn:
			return i.K
		default:
			require.Fail(t, "an unknown instruction")
		}
	}
	require.Fail(t, "the filter has no end")
	return 0
}

// TestFilter asks the filter about the calls that matter, and their neighbours.
func TestFilter(t *testing.T) {
	const pid = 4711
	filter := assemble(arch, needed(pid), refusalOfTests)
	require.Less(t, len(filter), 4096)
	ask := func(number uintptr, args ...uint64) bool {
		var a [6]uint64
		copy(a[:], args)
		return decide(t, filter, arch, uint32(number), a) == unix.SECCOMP_RET_ALLOW
	}
	const (
		rw      = unix.PROT_READ | unix.PROT_WRITE
		private = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
		high    = 1 << 32
	)
	for _, c := range []struct {
		what   string
		number uintptr
		args   []uint64
		want   bool
	}{
		{"heap", mmap, []uint64{0, 1 << 20, rw, private}, true},
		{"reserve", mmap, []uint64{0, 1 << 20, unix.PROT_NONE, private}, true},
		{"commit", mmap, []uint64{0, 1 << 20, rw, private | unix.MAP_FIXED}, true},
		{"executable", mmap, []uint64{0, 1 << 20, rw | unix.PROT_EXEC, private}, false},
		{"read-only", mmap, []uint64{0, 1 << 20, unix.PROT_READ, private}, false},
		{"shared", mmap, []uint64{0, 1 << 20, rw, unix.MAP_SHARED | unix.MAP_ANONYMOUS}, false},
		{"file", mmap, []uint64{0, 1 << 20, rw, unix.MAP_PRIVATE, 3}, false},
		{"stack", mmap, []uint64{0, 1 << 20, rw, private | unix.MAP_GROWSDOWN}, false},
		{"uncounted", mmap, []uint64{0, 1 << 20, rw, private | unix.MAP_NORESERVE}, false},
		{"high half", mmap, []uint64{0, 1 << 20, rw | high, private}, false},
		{"thread", unix.SYS_CLONE, []uint64{newThread}, true},
		{"thread with storage", unix.SYS_CLONE, []uint64{newThread | unix.CLONE_SETTLS}, true},
		{"process", unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, false},
		{"untraced thread", unix.SYS_CLONE, []uint64{newThread | unix.CLONE_UNTRACED}, false},
		{"namespace", unix.SYS_CLONE, []uint64{newThread | unix.CLONE_NEWNS}, false},
		{"own signal", unix.SYS_TGKILL, []uint64{pid, 1, uint64(unix.SIGURG)}, true},
		{"other's signal", unix.SYS_TGKILL, []uint64{pid + 1, 1, uint64(unix.SIGURG)}, false},
		{"every signal", unix.SYS_TGKILL, []uint64{^uint64(0), 1, uint64(unix.SIGURG)}, false},
		{"wait", unix.SYS_FUTEX, []uint64{1, futexWait}, true},
		{"wake", unix.SYS_FUTEX, []uint64{1, futexWake}, true},
		{"shared wait", unix.SYS_FUTEX, []uint64{1, 0}, false},
		{"priority", unix.SYS_FUTEX, []uint64{1, 6 | 128}, false},
		{"free", unix.SYS_MADVISE, []uint64{0, 1, unix.MADV_DONTNEED}, true},
		{"merge", unix.SYS_MADVISE, []uint64{0, 1, unix.MADV_MERGEABLE}, false},
		{"time", unix.SYS_CLOCK_GETTIME, []uint64{unix.CLOCK_MONOTONIC}, true},
		{"other's time", unix.SYS_CLOCK_GETTIME, []uint64{0xfffffffa}, false},
		{"ask for the filter", unix.SYS_PRCTL, []uint64{unix.PR_GET_SECCOMP}, true},
		{"name", unix.SYS_PRCTL, []uint64{unix.PR_SET_NAME}, false},
		{"open", unix.SYS_OPENAT, nil, false},
		{"exec", unix.SYS_EXECVE, nil, false},
		{"socket", unix.SYS_SOCKET, nil, false},
		{"pass descriptors", unix.SYS_SENDMSG, nil, false},
		{"memory file", unix.SYS_MEMFD_CREATE, nil, false},
		{"protect", unix.SYS_MPROTECT, nil, false},
		{"kill", unix.SYS_KILL, nil, false},
		{"trace", unix.SYS_PTRACE, nil, false},
		{"limits", unix.SYS_PRLIMIT64, nil, false},
		{"clone3", unix.SYS_CLONE3, nil, false},
		{"ring", unix.SYS_IO_URING_SETUP, nil, false},
	} {
		require.Equal(t, c.want, ask(c.number, c.args...), c.what)
	}
	require.Equal(t, uint32(unix.SECCOMP_RET_KILL_PROCESS), decide(t, filter, arch^1, unix.SYS_READ, [6]uint64{}))
	require.Equal(t, refusalOfTests, decide(t, filter, arch, 0x40000000|unix.SYS_READ, [6]uint64{}), "x32")
}

// TestAssemble compares filters of any list with the list.
func TestAssemble(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.Uint32Range(0, 7)
		list := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) allow {
			return allow{uintptr(small.Draw(t, "number")), rapid.SliceOfN(rapid.Custom(func(t *rapid.T) condition {
				return condition{rapid.IntRange(0, 5).Draw(t, "arg"), small.Draw(t, "ignore"), rapid.SliceOfN(small, 1, 4).Draw(t, "values")}
			}), 0, 3).Draw(t, "when")}
		}), 0, 8, func(a allow) uintptr { return a.number }).Draw(t, "list")
		filter := assemble(arch, list, refusalOfTests)
		number := small.Draw(t, "call")
		var args [6]uint64
		for i := range args {
			args[i] = uint64(small.Draw(t, "value"))
			if rapid.IntRange(0, 9).Draw(t, "far") == 0 {
				args[i] |= 1 << 40
			}
		}
		want := refusalOfTests
		for _, a := range list {
			if uint32(a.number) == number && a.holds(args) {
				want = unix.SECCOMP_RET_ALLOW
			}
		}
		require.Equal(t, want, decide(t, filter, arch, number, args))
	})
}

// holds says the same as the filter's body.
func (a allow) holds(args [6]uint64) bool {
	for _, c := range a.when {
		met := false
		for _, v := range c.values {
			met = met || args[c.arg]>>32 == 0 && uint32(args[c.arg])&^c.ignore == v
		}
		if !met {
			return false
		}
	}
	return true
}

func TestArgs(t *testing.T) {
	for _, o := range []Options{{}, {BestEffort: true}, {Namespace: true, Threads: 64, hooks: hook.Sandbox{Kill: true, Without: []string{Landlock, Seccomp}}}} {
		require.Equal(t, o, ParseArgs(append([]string{"executor-worker"}, o.Args()...)))
	}
	order := Launch{Flags: 0x7e020000, UID: 70000, GID: 70001, Groups: true}
	got, rest, found := launchIn([]string{"picloud-executor", order.Arg(), "--namespace"})
	require.True(t, found)
	require.Equal(t, order, got)
	require.Equal(t, []string{"picloud-executor", "--namespace"}, rest)
	_, _, found = launchIn([]string{"--launch=x"})
	require.False(t, found)
}
