// Command busy makes the Go runtime do all it can, in a sandbox that ends the
// process at the first system call that it refuses.
package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/internal/hook"
)

const memory = 64 << 20

func main() {
	how, span := os.Args[1], 2*time.Second
	debug.SetMemoryLimit(memory)
	r, w, err := os.Pipe() // opens the poller, as the worker's socket does
	check(err)
	kept = r
	_ = w.Close()
	opts := sandbox.ParseArgs(hook.Sandbox{Kill: true}.Args())
	opts.Memory = memory
	report, err := sandbox.Apply(opts)
	check(err)
	if lacks := report.Lacks(); len(lacks) > 0 {
		check(fmt.Errorf("lacks %v", lacks))
	}
	switch how {
	case "panic":
		var m map[string]int
		m["x"] = 1
	case "overflow":
		overflow(0)
	case "memory":
		var held [][]byte
		for {
			held = append(held, make([]byte, 1<<20))
			clear(held[len(held)-1])
		}
	case "deadlock":
		select {}
	case "exec":
		_, _ = os.Open("/")
	}
	work(span)
	fmt.Println("done")
}

// kept stays open: to close it would be one more system call.
var kept *os.File

func work(span time.Duration) {
	end := time.Now().Add(span)
	var wg sync.WaitGroup
	var spun atomic.Int64
	for i := range 24 {
		wg.Go(func() {
			if i < 12 { // threads of their own, which end with the goroutine
				runtime.LockOSThread()
			}
			for time.Now().Before(end) {
				held := make([]byte, 64<<10+i)
				_, _ = rand.Read(held[:64])
				_ = strings.ToUpper(string(held))
				recovers()
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
			}
		})
	}
	for range 3 { // never give the processor back: signals take it
		wg.Go(func() {
			for x := int64(1); ; x++ {
				if x%(1<<22) == 0 && time.Now().After(end) {
					spun.Add(x)
					return
				}
			}
		})
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for time.Now().Before(end) {
		<-ticker.C
		runtime.GC()
		debug.FreeOSMemory()
		_ = runtime.Stack(make([]byte, 64<<10), true)
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		runtime.GOMAXPROCS(1 + int(stats.NumGC)%2)
		deep(10_000)
	}
	wg.Wait()
}

func recovers() {
	defer func() { _ = recover() }()
	var p *int
	*p = 1 // a signal, and a panic
}

func deep(n int) int {
	if n == 0 {
		return 0
	}
	var room [64]int
	room[n%64] = deep(n - 1)
	return room[n%64]
}

func overflow(n int) int { return overflow(n+1) + 1 }

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
