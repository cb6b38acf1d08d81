package local

import "net/http"

// question is one kind of request to the socket of a node.
type question struct{ method, path string }

// What commands ask a node. An answer is JSON; an error is a problem (RFC 9457), as on
// the control port.
var (
	statusQuestion = question{http.MethodGet, "/status"}  // answers a Status
	reloadQuestion = question{http.MethodPost, "/reload"} // answers when the configuration is in use
	stopQuestion   = question{http.MethodPost, "/stop"}   // answers before the process ends
	tokenQuestion  = question{http.MethodPost, "/token"}  // takes a tokenOf, and answers a NewToken
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
