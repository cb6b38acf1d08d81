//go:build linux && (amd64 || arm64)

package main

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// veterans are threads that are older than the sandbox: whatever it takes away,
// it must take from them too.
type veterans struct {
	entered atomic.Bool
	jobs    [3]chan func() // the main thread, one that slept, one that was in system calls
	names   [3]string
}

func newVeterans() *veterans {
	v := &veterans{names: [3]string{"main thread", "old thread", "busy old thread"}}
	for i := range v.jobs {
		v.jobs[i] = make(chan func())
	}
	up := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		up <- struct{}{}
		work(v.jobs[1])
	}()
	go func() {
		runtime.LockOSThread()
		up <- struct{}{}
		nap := unix.NsecToTimespec(int64(time.Millisecond))
		for !v.entered.Load() {
			_ = unix.Nanosleep(&nap, nil)
		}
		work(v.jobs[2])
	}()
	<-up
	<-up
	return v
}

func (v *veterans) main() { work(v.jobs[0]) }

func work(jobs chan func()) {
	for job := range jobs {
		job()
	}
}

// try makes the attempt on a thread of today and on each old one. It answers
// with the outcome, or with all of them when they differ.
func (v *veterans) try(a attempt, w world) string {
	first := outcome(a.try(w))
	if a.once {
		return first
	}
	all, same := "new thread: "+first, true
	for i, jobs := range v.jobs {
		answer := make(chan string, 1)
		jobs <- func() { answer <- outcome(a.try(w)) }
		other := <-answer
		same = same && other == first
		all += fmt.Sprintf(", %s: %s", v.names[i], other)
	}
	if same {
		return first
	}
	return all
}
