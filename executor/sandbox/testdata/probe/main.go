// Command probe applies the sandbox and tries what it forbids.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/internal/hook"
)

const memory = 16 << 20

func main() {
	signal.Ignore(syscall.SIGXFSZ)
	opts := sandbox.ParseArgs(hook.Sandbox{Without: []string{sandbox.Landlock, sandbox.Seccomp}}.Args())
	opts.Memory, opts.BestEffort = memory, true
	var layers []string
	if os.Args[1] != "none" {
		report, err := sandbox.Apply(opts)
		check(err)
		layers = report.On()
	}
	file, err := os.CreateTemp("", "probe")
	check(err)
	defer os.Remove(file.Name())
	if os.Args[1] == "memory" {
		var held [][]byte
		for range 64 { // up to 1 GiB
			b := make([]byte, 16<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			held = append(held, b)
		}
		fmt.Println("held", len(held))
		return
	}
	fmt.Println(strings.TrimSpace("layers: " + strings.Join(layers, " ")))
	var open []*os.File
	err = nil
	for range 64 {
		f, e := os.Open("/dev/null")
		if err = e; err != nil {
			break
		}
		open = append(open, f)
	}
	for _, f := range open {
		f.Close()
	}
	fmt.Println("open files:", verdict(err))
	_, err = file.WriteString("x")
	fmt.Println("write file:", verdict(err))
	without := 0
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	check(err)
	for _, t := range tasks {
		status, err := os.ReadFile(t)
		check(err)
		if !strings.Contains(string(status), "NoNewPrivs:\t1") {
			without++
		}
	}
	fmt.Println("threads without no_new_privs:", without)
}

func verdict(err error) string {
	if err != nil {
		return "refused"
	}
	return "allowed"
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
