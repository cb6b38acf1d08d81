package sandbox

import "golang.org/x/sys/unix"

// A seccomp filter is a small program over struct seccomp_data: the number of
// the call at 0, the architecture at 4, six arguments of 64 bits from 16. All
// our architectures are little-endian.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// The instructions in use.
const (
	opLoad   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opEqual  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opAnd    = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opReturn = unix.BPF_RET | unix.BPF_K
)

// allow is a system call that the filter lets pass if its arguments meet all
// conditions.
type allow struct {
	number uintptr
	when   []condition
}

// condition holds when an argument, without the bits of ignore, is one of values.
type condition struct {
	arg    int
	ignore uint32
	values []uint32
}

// calls allows calls with any arguments.
func calls(numbers ...uintptr) []allow {
	list := make([]allow, len(numbers))
	for i, n := range numbers {
		list[i].number = n
	}
	return list
}

// assemble makes the filter. A call that is not in the list gets the action
// otherwise; the calls of x32 are among those. A call of another architecture, whose
// numbers have other meanings, ends the process.
func assemble(arch uint32, list []allow, otherwise uint32) []unix.SockFilter {
	p := []unix.SockFilter{
		{Code: opLoad, K: offsetArch},
		{Code: opEqual, Jt: 1, K: arch},
		{Code: opReturn, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: opLoad, K: offsetNumber},
	}
	for _, call := range list {
		body := call.body(otherwise)
		p = append(p, unix.SockFilter{Code: opEqual, Jf: uint8(len(body)), K: uint32(call.number)})
		p = append(p, body...)
	}
	return append(p, unix.SockFilter{Code: opReturn, K: otherwise})
}

// body decides about a call whose number matched; it always returns.
func (a allow) body(otherwise uint32) []unix.SockFilter {
	const refuse = 0xff // a jump to the end, which is not known yet
	var p []unix.SockFilter
	for _, c := range a.when {
		low := uint32(offsetArgs + 8*c.arg)
		p = append(
			p,
			unix.SockFilter{Code: opLoad, K: low + 4},
			unix.SockFilter{Code: opEqual, Jf: refuse, K: 0},
			unix.SockFilter{Code: opLoad, K: low},
			unix.SockFilter{Code: opAnd, K: ^c.ignore},
		)
		for i, value := range c.values {
			left := uint8(len(c.values) - 1 - i)
			next := unix.SockFilter{Code: opEqual, Jt: left, K: value}
			if left == 0 {
				next.Jf = refuse
			}
			p = append(p, next)
		}
	}
	p = append(p, unix.SockFilter{Code: opReturn, K: unix.SECCOMP_RET_ALLOW})
	if len(a.when) == 0 {
		return p
	}
	for i := range p {
		if p[i].Code == opEqual && p[i].Jf == refuse {
			p[i].Jf = uint8(len(p) - i - 1)
		}
	}
	return append(p, unix.SockFilter{Code: opReturn, K: otherwise})
}
