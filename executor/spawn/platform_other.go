//go:build unix && !linux

package spawn

// imagePath is the worker's program: there is no /proc to find it by descriptor.
func imagePath(name string) string { return name }

// mayChangeUser: root may.
func mayChangeUser() bool { return true }
