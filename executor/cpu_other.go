//go:build unix && !linux

package executor

import "syscall"

// cpu is not known here, so that no worker is found to spin.
func (p *process) cpu() int64 { return 0 }

func (p *process) renice(nice int) error {
	return syscall.Setpriority(syscall.PRIO_PGRP, p.pid, nice)
}
