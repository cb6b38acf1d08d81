//go:build !linux

package machine

// Chrooted reports nothing: this system has no user namespaces to lose.
func Chrooted() bool { return false }
