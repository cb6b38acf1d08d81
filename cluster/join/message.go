package join

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/identity"
)

// Request is what a node says that wants to become a member.
type Request struct {
	Token   string `json:"token"` // the text of the token
	Node    string `json:"node"`  // UUID
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	// CSR is a certificate signing request (DER) for the node's key.
	CSR []byte `json:"csr"`
	// Advertise is the address that other nodes use to reach this one; empty: the
	// address that the request comes from.
	Advertise string `json:"advertise,omitempty"`
	// ClusterPort and GossipPort are the ports that the node will listen on.
	ClusterPort int `json:"cluster_port"`
	GossipPort  int `json:"gossip_port"`
}

// maxHost is the longest host name, in bytes.
const maxHost = 253

// check refuses what no node of PiCloud sends, before anybody is asked about it: other nodes
// would dial it, and lists would show it.
func (r Request) check() error {
	invalid := func(format string, args ...any) error {
		return &picloud.Error{Code: picloud.CodeInvalid, Op: "join", Resource: picloud.Shorten(r.Name, 80), Detail: fmt.Sprintf(format, args...)}
	}
	if err := picloud.CheckName("node_name", r.Name); err != nil {
		return err
	}
	if !identity.ValidID(r.Node) {
		return invalid("the id of the node, %q, is no UUID", picloud.Shorten(r.Node, 80))
	}
	for name, number := range map[string]int{"cluster_port": r.ClusterPort, "gossip_port": r.GossipPort} {
		if number < 1 || number > 65535 {
			return invalid("%s is %d, and must be 1 to 65535", name, number)
		}
	}
	strange := func(c rune) bool { return c > unicode.MaxASCII || !unicode.IsGraphic(c) || strings.ContainsRune(` /\@?#"'[]`, c) }
	if len(r.Advertise) > maxHost || strings.ContainsFunc(r.Advertise, strange) {
		return invalid("advertise, %q, is no host name and no address", picloud.Shorten(r.Advertise, 80))
	}
	return nil
}

// Member is a node of the cluster as others reach it.
type Member struct {
	Node    string           `json:"node"` // UUID
	Name    string           `json:"name"`
	Role    picloud.NodeRole `json:"role"`
	Address string           `json:"address"` // host:port of its cluster port
	Gossip  string           `json:"gossip"`  // host:port of its gossip
}

// Database says how a node reaches the cluster's database. Either Host or DSN is set.
type Database struct {
	// Host is the node that runs the database. Others reach it through that node's
	// cluster port.
	Host string `json:"host,omitempty"`
	// DSN is where the database is, with the password: a secret.
	DSN string `json:"dsn,omitempty"`
	// Role is the node's own role in the database; empty: the node uses the one that was
	// given for all.
	Role string `json:"role,omitempty"`
}

// Answer is all that a new member needs. It holds secrets.
type Answer struct {
	Cluster string           `json:"cluster"` // UUID
	Name    string           `json:"name"`    // of the cluster
	Role    picloud.NodeRole `json:"role"`
	// Address is host:port of the new member's cluster port, as others will use it.
	Address string `json:"address"`
	// Certificate of the node and Roots of the cluster, in PEM.
	Certificate []byte `json:"certificate"`
	Roots       []byte `json:"roots"`
	// GossipKeys encrypt the gossip, the primary key first; GossipRev counts their changes.
	GossipKeys [][]byte `json:"gossip_keys"`
	GossipRev  int      `json:"gossip_rev"`
	// ClusterKey is the text of the key that seals secrets.
	ClusterKey string   `json:"cluster_key"`
	Database   Database `json:"database"`
	// Members are the nodes of the cluster, and Self is the one that answers.
	Members []Member `json:"members"`
	Self    string   `json:"self"`
	// Time is the clock of the member that answers: a board without a clock takes it
	// for the least time that it can be.
	Time time.Time `json:"time"`
}

// reply is an answer or a refusal.
type reply struct {
	Answer  *Answer  `json:"answer,omitempty"`
	Refusal *refusal `json:"refusal,omitempty"`
}

// refusal is an error as it travels.
type refusal struct {
	Code       picloud.Code `json:"code"`
	Op         string       `json:"op"`
	Resource   string       `json:"resource"`
	Detail     string       `json:"detail"`
	Hint       string       `json:"hint"`
	RetryAfter int          `json:"retry_after"` // seconds
}

// refuse writes an error down. What is no error for people stays on this node.
func refuse(err error) *refusal {
	e := explain(err)
	return &refusal{Code: e.Code, Op: e.Op, Resource: e.Resource, Detail: e.Detail, Hint: e.Hint, RetryAfter: int(e.RetryAfter / time.Second)}
}

// err reads an error. The member is trusted, but its text is bounded all the same.
func (r *refusal) err() error {
	return &picloud.Error{
		Code: r.Code, Op: picloud.Shorten(r.Op, 100), Resource: picloud.Shorten(r.Resource, 100), Detail: picloud.Shorten(r.Detail, 500),
		Hint: picloud.Shorten(r.Hint, 500), RetryAfter: time.Duration(min(max(r.RetryAfter, 0), 3600)) * time.Second,
	}
}
