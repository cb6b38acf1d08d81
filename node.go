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
}

// Alive reports whether the node reported within the last three report
// intervals of a minute.
func (n Node) Alive(now time.Time) bool { return now.Sub(n.SeenAt) < 3*time.Minute }
