package worker

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
)

// exitMemory is how the runtime ends when memory runs out.
const exitMemory = 2

// watchMemory ends the process when scripts hold more memory than the limit. The hard
// limit of the kernel is higher. At that one the garbage collector itself may fail to
// get memory, and the process then ends in a way that looks like a crash.
//
// The check runs after each collection, and the runtime collects again and again when
// memory is short.
func watchMemory(limit int64) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var check func(*sentinel)
	check = func(s *sentinel) {
		metrics.Read(sample)
		if live := sample[0].Value.Uint64(); live > uint64(limit) {
			fmt.Fprintf(os.Stderr, "fatal error: out of memory: scripts hold %d bytes, the limit is %d\n", live, limit)
			os.Exit(exitMemory)
		}
		runtime.SetFinalizer(s, check)
	}
	runtime.SetFinalizer(new(sentinel), check)
}

// sentinel is an object that each collection finds to be garbage. It must not share
// an allocation with other objects.
type sentinel struct{ _ [64]byte }
