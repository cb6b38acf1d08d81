package agent

import (
	"path/filepath"

	"github.com/picloud/picloud/internal/seal"
)

// Status says where a node stands. It is a snapshot, made for whoever tells
// people about the node.
type Status struct {
	NodeName                 string
	FunctionsURL, ControlURL string
	// Database is the node's way to its database; nil before Start.
	Database *DatabaseStatus
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
	// Version is that of the managed server's binaries; empty before the node
	// has reached it.
	Version string
}

// Status returns where the node stands at this moment.
func (a *Agent) Status() Status {
	s := Status{NodeName: a.opts.NodeName, FunctionsURL: a.opts.FunctionsURL(), ControlURL: a.opts.ControlURL(), Memory: a.opts.Memory()}
	a.mu.Lock()
	d := a.database
	a.mu.Unlock()
	if d != nil {
		s.Database = &DatabaseStatus{Err: d.closed()}
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
