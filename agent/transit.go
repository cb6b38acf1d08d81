package agent

import (
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/machine"
)

// smallBody is how much memory each body may take beside the node's transit
// memory, so that small calls go on when large ones have taken all of it.
const smallBody = 64 << 10

// The default of Options.TransitMemory is an eighth of the machine's memory
// between these.
const (
	minTransit = 64 << 20 // holds the largest body that a function can allow
	maxTransit = 1 << 30
)

func defaultTransit() int64 { return min(max(machine.Memory()/8, minTransit), maxTransit) }

// transit bounds the memory of bodies on their way through the node: requests
// that are still coming in or wait for their function, and answers that their
// clients have not taken yet. How many there are is up to clients, and a slow
// one can keep its body here for a minute.
type transit struct {
	limit int64
	used  atomic.Int64
}

// take reserves n bytes, or reports that they do not fit.
func (t *transit) take(n int64) bool {
	if t.used.Add(n) > t.limit {
		t.used.Add(-n)
		return false
	}
	return true
}

func (t *transit) give(n int64) { t.used.Add(-n) }

// full is the error of a call whose body does not fit.
func (t *transit) full(resource, detail string) error {
	return &picloud.Error{
		Code: picloud.CodeOverload, Op: "call function", Resource: resource,
		Detail: detail + ": those of other calls fill the " + picloud.Size(t.limit).String() + " that this node has for bodies",
		Hint:   "try again; large bodies of slow clients hold memory until they are through", RetryAfter: time.Second,
	}
}
