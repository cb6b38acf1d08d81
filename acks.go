package picloud

// Acks says which nodes serve a catalog revision.
type Acks struct {
	Rev      int64    `json:"rev"`
	Nodes    []string `json:"nodes"`   // names of the nodes that serve it
	Missing  []string `json:"missing"` // alive nodes that did not answer in time, and absent ones
	Complete bool     `json:"complete"`
	// Times say after what time the node that waited knew it of each of Nodes, counted from
	// the commit. Empty: there is only one.
	Times map[string]Duration `json:"times,omitempty"`
}

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
