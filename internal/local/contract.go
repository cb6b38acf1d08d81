package local

import (
	"net/http"

	"github.com/picloud/picloud"
)

// question is one kind of request to the socket of a node.
type question struct{ method, path string }

// What commands ask a node. An answer is JSON; an error is a problem (RFC 9457), as on
// the control port.
var (
	statusQuestion = question{http.MethodGet, "/status"}  // answers a Status
	reloadQuestion = question{http.MethodPost, "/reload"} // answers when the configuration is in use
	stopQuestion   = question{http.MethodPost, "/stop"}   // answers before the process ends
	tokenQuestion  = question{http.MethodPost, "/token"}  // takes a tokenOf, and answers a NewToken

	clusterQuestion = question{http.MethodGet, "/cluster"}          // answers a Cluster
	recoverQuestion = question{http.MethodPost, "/cluster/recover"} // takes a Recovery, and answers a Recovered
)

// pattern is the question for a http.ServeMux.
func (q question) pattern() string { return q.method + " " + q.path }

// tokenOf asks for a new token of a user.
type tokenOf struct {
	User string `json:"user"`
}

// NewToken is the API token that replaces the one of a user.
type NewToken struct {
	Token string `json:"token"`
	Saved string `json:"saved,omitempty"` // the credentials file that the node wrote; empty: none
}

// Cluster is the cluster as a node sees it, without asking anybody.
type Cluster struct {
	State picloud.ClusterState `json:"state"`
	Nodes []picloud.Node       `json:"nodes"`
}

// Recovery asks a node to become the only voter of its cluster: the majority of the voters is
// lost for good.
type Recovery struct {
	Adopt bool `json:"adopt"` // the terms of the elections begin anew, too
	Force bool `json:"force"` // also while a majority is alive, or a node manages
	Try   bool `json:"try"`   // only say what would be done
}

// Recovered says what a node did, or would do.
type Recovered struct {
	Node    string   `json:"node"` // the only voter
	Cluster string   `json:"cluster"`
	Lost    []string `json:"lost"`    // voters that do not answer
	Alive   []string `json:"alive"`   // other voters that do
	Manager string   `json:"manager"` // empty: there is none yet
	Epoch   int64    `json:"epoch"`
	Done    bool     `json:"done"`
}
