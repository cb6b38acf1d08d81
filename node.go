package picloud

import (
	"fmt"
	"slices"
	"time"
)

// The default ports of a node. The CLI uses them too.
const (
	DefaultHTTPPort  = 8080 // functions over HTTP
	DefaultHTTPSPort = 8443 // functions over HTTPS
	DefaultAdminPort = 8081 // the control API

	DefaultGossipPort  = 7946 // nodes hear of one another
	DefaultClusterPort = 7947 // everything else between nodes
)

// NotSentHeader is set in the answer of a node that could not pass a call on, or that is the
// manager no more: nobody has carried the call out, so that it is safe to send it again.
const NotSentHeader = "X-PiCloud-Not-Sent"

// FunctionsHeader is where the node that was asked serves functions, as seen from itself: not the
// manager that the call was passed on to.
const FunctionsHeader = "X-PiCloud-Functions"

// NodeRole says what a node may do in its cluster.
type NodeRole string

// The roles of nodes.
const (
	RoleManager NodeRole = "manager" // it may become the manager
	RoleServing NodeRole = "node"    // it serves functions only
)

// NodeRoles lists every role of nodes.
var NodeRoles = []NodeRole{RoleManager, RoleServing}

// Seat is the place of a node in the elections of the manager.
type Seat string

// The seats.
const (
	SeatVoter   Seat = "voter"
	SeatStandby Seat = "standby" // it takes the place of a voter that is gone
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
	Stopped   bool      `json:"stopped,omitzero"`  // it said that it stops, and was not seen since
	Draining  bool      `json:"draining,omitzero"` // an admin took it out of service
	Role      NodeRole  `json:"role,omitempty"`
	Arch      string    `json:"arch,omitempty"`    // of the processor, as Go names it
	Address   string    `json:"address,omitempty"` // host:port of its cluster port; empty: not open
	// Place is a digest of the machine and the data folder that the node runs on. Two
	// places with one id are a node and its copy. Empty: it is not compared.
	Place string `json:"-"`

	// What the manager knows of it at this moment. The database keeps none of it.
	Manager bool  `json:"manager,omitzero"`  // it is the manager
	Seat    Seat  `json:"seat,omitempty"`    // its place in the elections; empty: it has none
	Lag     int64 `json:"lag,omitzero"`      // revisions of the catalog that it does not serve yet
	Away    bool  `json:"away,omitzero"`     // the other nodes do not hear it
	Running *int  `json:"running,omitempty"` // calls that run or wait there; nil: not known
}

// ClusterState is the cluster as its manager sees it, or as a node sees it that finds none.
type ClusterState struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Manager string `json:"manager"` // the name of the node that manages it; empty: none is known
	// Epoch counts the managers: each write that only the manager may make proves it. 0:
	// the node is alone, and there is nobody to tell apart.
	Epoch int64 `json:"epoch"`
	// Voters elect the manager, and Standbys take the place of a voter that is gone.
	Voters   []string `json:"voters"`
	Standbys []string `json:"standbys"`
	Nodes    int      `json:"nodes"`
	Alive    int      `json:"alive"`
	Database string   `json:"database"` // the name of the node that runs it; empty: it is elsewhere

	// SeenBy names the node that tells this of its own knowledge, without the manager and
	// without the database; empty: the manager does.
	SeenBy string `json:"seen_by,omitempty"`
	// Trouble says why there is no manager, or that it has no database, and Hint what to do.
	Trouble string `json:"trouble,omitempty"`
	Hint    string `json:"hint,omitempty"`
	// Revision is that of the catalog, and Dumps are the dumps of the database that other nodes
	// keep, as far as they answer: the newest first.
	Revision int64  `json:"revision"`
	Dumps    []Dump `json:"dumps"`
}

// Dump is a dump of the cluster's database that a node keeps.
type Dump struct {
	Node     string    `json:"node"` // its name
	TakenAt  time.Time `json:"taken_at"`
	Revision int64     `json:"revision"` // of the catalog
	Size     int64     `json:"size"`     // in bytes
}

// Invitation lets nodes into the cluster that show its token.
type Invitation struct {
	ID        string    `json:"id"` // 16 hexadecimal digits
	Role      NodeRole  `json:"role"`
	Uses      int       `json:"uses"` // how many nodes it still lets in
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// The bounds of invitations.
const (
	DefaultInvitation = time.Hour // how long an invitation is valid
	MinInvitation     = time.Minute
	MaxInvitation     = 30 * 24 * time.Hour
	MaxInvitationUses = 1000
)

// Check returns an error unless the invitation is within the bounds. Its life is what is
// left at now.
func (i Invitation) Check(now time.Time) error {
	bad := func(field, detail, hint string) error {
		return &Error{Code: CodeInvalid, Op: "invite node", Resource: field, Detail: detail, Hint: hint}
	}
	life := i.ExpiresAt.Sub(now)
	switch {
	case !slices.Contains(NodeRoles, i.Role):
		return bad("role", fmt.Sprintf("%q is no role of a node", Shorten(string(i.Role), 40)), "use manager or node")
	case i.Uses < 1 || i.Uses > MaxInvitationUses:
		return bad("uses", fmt.Sprintf("%d is not between 1 and %d", i.Uses, MaxInvitationUses), "one use lets one node in")
	case life < MinInvitation || life > MaxInvitation:
		return bad("ttl", "it is not between 1 minute and 30 days", "the default is 1h")
	}
	return nil
}

// NodeSilence is how long a node may be silent before it counts as dead: three
// intervals of its reports.
const NodeSilence = 3 * time.Minute

// PlaceSilence is how long a node must be silent before it may run at another place: longer
// than one interval of its reports with the time that a report takes.
const PlaceSilence = 90 * time.Second

// LastSeen is when the last of the nodes was seen, by the database's clock. Beside it a node is
// alive or not, whatever the clock of this machine says.
func LastSeen(nodes []Node) (at time.Time) {
	for _, n := range nodes {
		if n.SeenAt.After(at) {
			at = n.SeenAt
		}
	}
	return at
}

// Alive reports whether the node was seen lately, is heard by the others, and did not
// say that it stops.
func (n Node) Alive(now time.Time) bool {
	return !n.Stopped && !n.Away && now.Sub(n.SeenAt) < NodeSilence
}
