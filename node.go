package picloud

import "time"

// The default ports of a node. The CLI uses them too.
const (
	DefaultHTTPPort  = 8080 // functions over HTTP
	DefaultHTTPSPort = 8443 // functions over HTTPS
	DefaultAdminPort = 8081 // the control API
)

// Node is one member of the cluster as the database knows it.
type Node struct {
	ID        string    `json:"id"`   // UUID, made at first start, kept in data/node.json
	Name      string    `json:"name"` // for people; default: the host name
	Version   string    `json:"version"`
	Rev       int64     `json:"rev"`             // catalog revision that it serves
	Limits    Limits    `json:"limits,omitzero"` // defaults of its functions, below those of functions and apps
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
	Stopped   bool      `json:"stopped,omitzero"` // it said that it stops, and was not seen since
	// Place is a digest of the machine and the data folder that the node runs on. Two
	// places with one id are a node and its copy. Empty: it is not compared.
	Place string `json:"-"`
}

// NodeSilence is how long a node may be silent before it counts as dead: three
// intervals of its reports.
const NodeSilence = 3 * time.Minute

// PlaceSilence is how long a node must be silent before it may run at another place: longer
// than one interval of its reports with the time that a report takes.
const PlaceSilence = 90 * time.Second

// Alive reports whether the node was seen lately and did not say that it stops.
func (n Node) Alive(now time.Time) bool { return !n.Stopped && now.Sub(n.SeenAt) < NodeSilence }
