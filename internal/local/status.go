package local

import "time"

// Status is what a node says of itself to the commands of its machine.
type Status struct {
	Running bool `json:"running"`
	// State is "starting", "ready", "degraded" or "stopping"; "silent" when the
	// process has the data folder and does not answer; empty when none runs.
	State  string `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"` // why it is not ready

	Node      string     `json:"node,omitempty"`
	PID       int        `json:"pid,omitempty"`
	Version   string     `json:"version,omitempty"`
	StartedAt *time.Time `json:"started_at,omitempty"`

	Data   string `json:"data"`
	Config string `json:"config,omitempty"` // path of the Caddyfile; empty: the embedded configuration

	FunctionsURL string   `json:"functions_url,omitempty"`
	ControlURL   string   `json:"control_url,omitempty"`
	Listens      []string `json:"listens,omitempty"` // addresses, as host:port; no host: every interface

	Database  string `json:"database,omitempty"` // which one, for people
	Revision  int64  `json:"revision"`           // of the catalog that it serves
	Functions int    `json:"functions"`          // that it serves
}

// States of a node.
const (
	Starting = "starting"
	Ready    = "ready"
	Degraded = "degraded" // it serves, and something is missing
	Stopping = "stopping"
	Silent   = "silent"
)
