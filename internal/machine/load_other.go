//go:build !linux

package machine

// Load returns 0: only Linux says it without cgo.
func Load() (load float64, available int64) { return 0, 0 }
