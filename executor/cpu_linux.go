package executor

import "golang.org/x/sys/unix"

// cpu is the processor time that the process and its threads took so far, in
// nanoseconds, by its own clock: no file is read.
func (p *process) cpu() int64 {
	const scheduler = 2 // CPUCLOCK_SCHED: what the scheduler counted, not ticks
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.pid<<3|scheduler), &t); err != nil {
		return 0 // it is gone
	}
	return t.Nano()
}

// renice sets the nice value of all threads of the process; new ones inherit it.
// By its number alone only one thread would be meant: every worker has a process
// group of its own.
func (p *process) renice(nice int) error {
	return unix.Setpriority(unix.PRIO_PGRP, p.pid, nice)
}
