//go:build linux && (amd64 || arm64)

package main

import (
	"fmt"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/picloud/picloud/executor/worker"
)

// exitBroken is the status of a process that could not even try.
const exitBroken = 3

// The main goroutine keeps the main thread, which is one of those that are older
// than the sandbox.
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) == 1 {
		serve()
		return
	}
	switch {
	case os.Args[1] == "-done": // what the attempts to execute a program execute
		fmt.Println(done)
	case os.Args[1] == "-victim":
		suffer()
	case os.Args[1] == "-probe" && len(os.Args) == 4:
		outside(strings.Split(os.Args[2], ","), os.Args[3])
	default:
		serve()
	}
}

// serve is the worker.
func serve() {
	veterans := newVeterans()
	socket, hello, err := worker.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(exitBroken)
	}
	veterans.entered.Store(true)
	go func() {
		converse(socket, hello, veterans)
		os.Exit(0)
	}()
	veterans.main()
}

// outside makes attempts without a sandbox, and prints how each ended.
func outside(names []string, query string) {
	values, err := url.ParseQuery(query)
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(exitBroken)
	}
	for _, a := range attempts {
		if slices.Contains(names, a.name) {
			answer := outcome(a.try(world{values}))
			fmt.Printf("%s: %s\n", a.name, answer)
		}
	}
}
