package picloud

// Wait says which nodes a change waits for, once it is committed, before it is
// answered. It never decides whether the change stands.
type Wait string

// The values of Wait.
const (
	WaitAll    Wait = "all"    // every node that is alive
	WaitQuorum Wait = "quorum" // more than half of those
	WaitNone   Wait = "none"   // the node that made the change, and no other
)

// Waits lists every value of Wait.
var Waits = []Wait{WaitAll, WaitQuorum, WaitNone}
