package picloud

// Acks says which nodes serve a catalog revision.
type Acks struct {
	Rev      int64    `json:"rev"`
	Nodes    []string `json:"nodes"`   // names of the nodes that serve it
	Missing  []string `json:"missing"` // alive nodes that did not answer in time, and absent ones
	Complete bool     `json:"complete"`
}
