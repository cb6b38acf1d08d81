//go:build !linux

package sandbox

// RunLaunch does nothing here: there are no namespaces.
func RunLaunch() {}
