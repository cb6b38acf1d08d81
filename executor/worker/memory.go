package worker

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
)

// exitMemory is how the runtime ends when memory runs out.
const exitMemory = 2

// watchMemory ends the process when what scripts hold is over the limit. The
// hard limit of the system is some way behind it and ends the process too, but
// there the collector may be the one that gets no memory, and dies of it in a
// way that looks like a crash.
//
// It runs after each collection: the runtime collects again and again when
// memory is short. Nothing of the process works on afterwards.
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

// sentinel is garbage that is found at each collection. It must not share an
// allocation with others.
type sentinel struct{ _ [64]byte }
