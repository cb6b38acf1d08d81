//go:build !linux

package machine

// Memory is what a development machine is taken to have, in bytes.
func Memory() int64 { return 8 << 30 }
