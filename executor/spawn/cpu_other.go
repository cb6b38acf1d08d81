//go:build unix && !linux

package spawn

import "syscall"

// CPU is not known here, so the executor never finds that a worker spins.
func (p *Process) CPU() int64 { return 0 }

// Renice sets the nice value of the process.
func (p *Process) Renice(nice int) error {
	return syscall.Setpriority(syscall.PRIO_PGRP, p.pid, nice)
}
