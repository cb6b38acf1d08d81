package agent

import (
	"path/filepath"
	"time"

	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/internal/seal"
)

// Status says where a node stands. It is a snapshot, made for whoever tells
// people about the node.
type Status struct {
	NodeName, Version        string
	FunctionsURL, ControlURL string
	// DataDir is the node's data folder.
	DataDir string
	// Started is when the process made the node.
	Started time.Time
	// Unready says why the node does not serve, or is nil.
	Unready error
	// Missing lists what a node that serves does without, as GET /readyz does.
	Missing []string
	// Revision is that of the catalog that the node serves, and Functions how many
	// functions it has.
	Revision  int64
	Functions int
	// Stale is how old the node's copy of the catalog may be, if it was not compared with the
	// database for two minutes or longer; 0: it is current.
	Stale time.Duration
	// Database is the node's way to its database; nil before Start.
	Database *DatabaseStatus
	// Cluster is the cluster that the node is a member of; nil while it is alone.
	Cluster *ClusterStatus
	// Credentials is the path of a token that this start saved; empty: none.
	Credentials string
	// ClusterKey is the path of the key for secrets if this process made it;
	// empty: it did not.
	ClusterKey string
	// Memory is what the node may take of the machine's memory.
	Memory MemoryStatus
	// Secrets says why the node can give no secrets to functions, or is nil.
	Secrets error
}

// DatabaseStatus says which database a node uses and whether it reached it.
type DatabaseStatus struct {
	// Err says why the node has not reached the database since it started, or
	// is nil.
	Err error
	// Folder is that of the managed server; empty: a DSN is set.
	Folder string
	// Through is the name of the node that runs the database and passes it on; empty: no
	// other node does.
	Through string
	// Version is that of the managed server's binaries; empty before the node
	// has reached it.
	Version string
}

// ClusterStatus says where a node stands among others.
type ClusterStatus struct {
	Name    string
	Address string // host:port of the node's cluster port, as others use it
}

// Status returns where the node stands at this moment.
func (a *Agent) Status() Status {
	s := Status{
		NodeName: a.opts.NodeName, Version: a.opts.Version, FunctionsURL: a.opts.FunctionsURL(), ControlURL: a.opts.ControlURL(),
		DataDir: a.opts.DataDir, Started: a.started, Unready: a.Unready(), Missing: a.Missing(), Memory: a.opts.Memory(),
	}
	if serves := a.replica.State(); serves != nil {
		s.Revision, s.Functions = serves.Rev, len(serves.Routes)
		if age := a.replica.Age(); a.replica.Stale() {
			s.Stale = age
		}
	}
	a.mu.Lock()
	d, c := a.database, a.cluster
	a.mu.Unlock()
	var state cluster.State
	if c != nil && c.Member() {
		state = c.State()
		s.Cluster = &ClusterStatus{Name: state.Name, Address: state.Address}
	}
	if d != nil {
		s.Database = &DatabaseStatus{Err: d.closed()}
		if outcast := d.outcast(); outcast != nil {
			s.Database.Err = outcast // also when it reached the database before
		}
		for _, m := range state.Members {
			if d.server == nil && m.Node == state.Database.Host {
				s.Database.Through = m.Name
			}
		}
		if d.server != nil {
			s.Database.Folder = filepath.Join(a.opts.DataDir, "postgres")
			if s.Database.Err == nil { // the server answers nothing while it starts
				s.Database.Version = d.server.Version()
			}
		}
	}
	if path := a.credentials.Load(); path != nil {
		s.Credentials = *path
	}
	made, trouble := a.vault.State()
	if s.Secrets = trouble; made && trouble == nil {
		s.ClusterKey = seal.Path(a.opts.DataDir)
	}
	return s
}

// DatabaseSettled returns a channel that is closed when the node has reached
// its database, or when the first attempt to reach it has failed.
func (a *Agent) DatabaseSettled() <-chan struct{} { return a.settled }
