package agent

import (
	"syscall"
	"time"

	"github.com/picloud/picloud"
)

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
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return false // whoever needs the folder says so
	}
	return fs.Bavail*uint64(fs.Bsize) < minDiskSpace
}
