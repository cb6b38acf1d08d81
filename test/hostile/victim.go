//go:build linux && (amd64 || arm64)

package main

import (
	"fmt"
	"os"
	"unsafe"
)

// secret is what a victim holds, in its memory and in its environment.
const secret = "a victim's secret, 32 bytes long"

// suffer is a process that belongs to somebody else. It says where its secret
// is, and lives until its stdin ends.
func suffer() {
	held := append([]byte(nil), secret...)
	fmt.Printf("%d\n", uintptr(unsafe.Pointer(&held[0])))
	_, _ = os.Stdin.Read(make([]byte, 1))
	fmt.Println(string(held))
}
