package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/seal"
)

// Holdings says what a node's data folder holds, for people who are about to delete it.
type Holdings struct {
	Text    string // "3 functions in 1 app and a database of its own"
	Cluster string // the name of the cluster that the node is a member of; empty: it is alone
	Removed bool   // the node was removed from it
	// OnlyKey says that the folder has the key of the cluster's secrets, and that no other
	// node is known to have it.
	OnlyKey bool
}

// Inspect says what the data folder of a node holds. Found is false when no node has kept
// anything there.
func Inspect(dataDir string) (h Holdings, found bool) {
	if _, err := os.Stat(filepath.Join(dataDir, "node.json")); err != nil {
		return h, false
	}
	h.Text, _ = holdings(dataDir)
	_, err := seal.Load(dataDir)
	h.OnlyKey = err == nil
	id, err := loadIdentity(dataDir)
	if err != nil {
		return h, true
	}
	c, err := cluster.Open(cluster.Options{Dir: clusterDir(dataDir), Node: id.ID})
	if err == nil && c.Member() {
		h.Cluster, h.Removed = c.State().Name, c.Removed()
		h.OnlyKey = h.OnlyKey && len(c.State().Members) == 0
	}
	return h, true
}

// kept are the names of what a node keeps in its data folder. Whatever else is there is
// somebody else's.
var kept = []string{
	"node.json", "node.json.bad", "cluster", "cluster.key", "credentials", "credentials.new", "catalog", "logs", "caddy",
	"postgres", "postgres.log*", "postgres-run", "postgres.init-*", "postgres.aside-*", "run", "dumps", "restore",
}

// Reset deletes what a node keeps, its database too, so that it can start anew or join a
// cluster. The caller holds the lock of the data folder, and the node does not run.
func Reset(ctx context.Context, dataDir, postgresBin string, lock *datadir.Lock, log *slog.Logger) error {
	server, err := managed.New(managed.Options{DataDir: dataDir, BinDir: postgresBin, Lock: lock, Logger: log})
	if err != nil {
		return err
	}
	if err := server.Stop(ctx); err != nil { // one that a node which was killed has left
		return fmt.Errorf("reset node: %w", err)
	}
	entries, err := os.ReadDir(dataDir)
	if err != nil {
		return fmt.Errorf("reset node: %w", err)
	}
	// The certificate goes before the key, and both before the rest: what a crash leaves
	// can be reset again, and joins nothing by mistake.
	if err := os.Remove(filepath.Join(clusterDir(dataDir), "node.crt")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reset node: %w", err)
	}
	for _, e := range entries {
		if !slices.ContainsFunc(kept, func(pattern string) bool { ok, _ := filepath.Match(pattern, e.Name()); return ok }) {
			continue
		}
		path := filepath.Join(dataDir, e.Name())
		if err := os.RemoveAll(path); err != nil {
			return &picloud.Error{Code: picloud.CodeInternal, Op: "reset node", Resource: path, Detail: "it could not be deleted", Err: err, Hint: "run the command again as the user of the node, or as root"}
		}
	}
	return datadir.SyncDir(dataDir)
}
