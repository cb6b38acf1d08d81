//go:build linux && (amd64 || arm64)

// Command hostile is the worker of the hostile-worker suite: a process that enters
// the sandbox exactly as picloud-executor does, and then tries, as native code,
// whatever the path of a call names. Its answer is what the kernel said. Only tests
// build it.
//
// Run plainly, `hostile -probe NAME,… QUERY`, it makes the same attempts outside the
// sandbox, which proves that they work where nothing forbids them.
//
// The suite drives the exported executor.Executor of this process. Beyond that it
// needs what only tests may change: layers that are left out, uids of its own for
// the neighbour, and a shorter time to load. It passes them as hook.Executor to
// executor.NewHooked.
package main
