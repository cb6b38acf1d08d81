package picloud

// Wait says for which nodes the answer to a change waits after the commit. It never
// decides whether the change is made.
type Wait string

// The values of Wait.
const (
	WaitAll    Wait = "all"    // every node that is alive
	WaitQuorum Wait = "quorum" // more than half of the nodes that are alive
	WaitNone   Wait = "none"   // only the node that made the change
)

// Waits lists every value of Wait.
var Waits = []Wait{WaitAll, WaitQuorum, WaitNone}
