//go:build !linux

package agent

// machineMemory is the machine's memory in bytes; 0: unknown.
func machineMemory() int64 { return 0 }
