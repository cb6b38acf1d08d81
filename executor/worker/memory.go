package worker

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// exitMemory is how the runtime ends when memory runs out.
const exitMemory = 2

// headroom is what the collector may use beyond the limit while scripts hold nearly all
// of it. It is far below sandbox.DataSlack.
const headroom = 24 << 20

// watchMemory ends the process when scripts hold more memory than the limit. The hard
// limit of the kernel is higher. At that one the garbage collector itself may fail to
// get memory, and the process then ends in a way that looks like a crash.
//
// The check runs after each collection, and the runtime collects again and again when
// memory is short. Near the limit it would do little else, for seconds: the script would
// reach its deadline before it reaches the limit. So the collector gets some headroom as
// soon as scripts hold much.
func watchMemory(limit int64) {
	collector := limit
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var check func(*sentinel)
	check = func(s *sentinel) {
		metrics.Read(sample)
		live := sample[0].Value.Uint64()
		if live > uint64(limit) {
			fmt.Fprintf(os.Stderr, "fatal error: out of memory: scripts hold %d bytes, the limit is %d\n", live, limit)
			os.Exit(exitMemory)
		}
		if now := collectorLimit(int64(live), limit); now != collector {
			collector = now
			debug.SetMemoryLimit(now)
		}
		runtime.SetFinalizer(s, check)
	}
	runtime.SetFinalizer(new(sentinel), check)
}

// collectorLimit is the memory limit of the collector while scripts hold live bytes.
func collectorLimit(live, limit int64) int64 {
	if live > limit-limit/4 {
		return limit + headroom
	}
	return limit
}

// sentinel is an object that each collection finds to be garbage. It must not share
// an allocation with other objects.
type sentinel struct{ _ [64]byte }
