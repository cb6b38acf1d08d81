//go:build !linux

package identity

// kernelSynced is for machines of developers, whose clocks are right.
func kernelSynced() bool { return true }
