package spawn

import "golang.org/x/sys/unix"

// CPU returns the processor time that the process and its threads took so far, in
// nanoseconds. It asks the clock of the process: one system call, and no file.
func (p *Process) CPU() int64 {
	const scheduler = 2 // CPUCLOCK_SCHED: what the scheduler counted, not ticks
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.pid<<3|scheduler), &t); err != nil {
		return 0 // it is gone
	}
	return t.Nano()
}

// Renice sets the nice value of all threads of the process; new threads inherit it.
// The kernel applies a nice value by pid to one thread only, so Renice names the
// process group, which every worker has for itself.
func (p *Process) Renice(nice int) error {
	return unix.Setpriority(unix.PRIO_PGRP, p.pid, nice)
}
