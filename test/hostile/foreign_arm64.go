//go:build linux

package main

// foreign are attempts by other ways into the kernel: 32-bit programs are of
// another kind from their start here, and no 64-bit one can become one.
var foreign []attempt

// waits are system calls of this architecture that sweep leaves out.
var waits []uintptr
