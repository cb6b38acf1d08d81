package agent

import (
	"path/filepath"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/internal/machine"
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

// The parts of a node that may be missing while it serves. GET /readyz lists them.
const (
	// partDatabase: the database was not reached yet, or did not answer when it was
	// last asked. The key-value store, changes and new versions wait for it.
	partDatabase = "database"
	// partDiskCopy: what the node serves is not on its disk, so that it would serve an
	// older state after a power cut without the database.
	partDiskCopy = "disk_copy"
	// partDiskSpace: the disk of the data folder is full.
	partDiskSpace = "disk_space"
	// partCurrent: what the node serves was not compared with the database for two minutes
	// or longer, so that a newer version may be live elsewhere.
	partCurrent = "current_catalog"
	// partSecrets: the node cannot open the secrets of functions.
	partSecrets = "secrets"
)

// minDiskSpace is the room below which a disk counts as full: a deploy needs some.
const minDiskSpace = 1 << 20

// Unready says why the node cannot serve, or nil if it can.
func (a *Agent) Unready() error {
	switch state(a.state.Load()) {
	case stateServing:
		if a.replica.State().Drained {
			return &picloud.Error{
				Code: picloud.CodeDraining, Op: "serve", Detail: "an admin took the node out of service; `picloud node resume` puts it back", RetryAfter: time.Minute,
			}
		}
		return nil
	case stateDraining, stateStopped:
		return &picloud.Error{Code: picloud.CodeDraining, Op: "serve", Detail: "the node is shutting down", RetryAfter: 5 * time.Second}
	default:
		return &picloud.Error{Code: picloud.CodeStarting, Op: "serve", Detail: "the node has not loaded its catalog yet", RetryAfter: time.Second}
	}
}

// Missing lists the parts that a node which serves does without at this moment.
func (a *Agent) Missing() (parts []string) {
	if c := a.control.Load(); c != nil {
		if d := c.database; !d.open.Load() || d.Trouble() {
			parts = append(parts, partDatabase)
		} else if _, trouble := a.vault.State(); trouble != nil {
			parts = append(parts, partSecrets)
		}
	}
	if a.replica.Behind() {
		parts = append(parts, partDiskCopy)
	}
	if a.replica.Stale() {
		parts = append(parts, partCurrent)
	}
	if full(a.opts.DataDir) {
		parts = append(parts, partDiskSpace)
	}
	return parts
}

// full reports whether the disk of a folder has no room.
func full(dir string) bool {
	free, _, err := machine.Disk(dir)
	return err == nil && free < minDiskSpace // whoever needs the folder says what is wrong with it
}
