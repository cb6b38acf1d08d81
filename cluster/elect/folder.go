package elect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// errDamaged says that the folder of the election cannot be read.
var errDamaged = errors.New("the folder of the election is damaged")

// keptBad is how many damaged folders stay for a person to look at.
const keptBad = 2

// keyTerm is where Raft keeps its term.
var keyTerm = []byte("CurrentTerm")

// errFound says that it is not known whether the node may begin a group.
var errFound = errors.New("the database does not say whether this node begins the elections")

// damaged reports whether err, which ended a Raft or its building, says that what is in the
// folder cannot be used. A disk that is full, slow or forbidden is no damage: it may mend, and the
// votes in the folder stay good.
func damaged(err error) bool {
	var errno syscall.Errno
	for _, other := range []error{errFound, errSick, errRemoved, errRemade, errTime, context.Canceled, fs.ErrPermission, fs.ErrClosed} {
		if errors.Is(err, other) {
			return false
		}
	}
	return err != nil && !errors.As(err, &errno)
}

// quarantine puts a damaged folder aside, and removes the oldest of those before it.
func quarantine(dir string, now time.Time) (to string, err error) {
	to = fmt.Sprintf("%s.bad-%s", dir, now.UTC().Format("20060102T150405.000"))
	if err := os.Rename(dir, to); err != nil {
		return "", fmt.Errorf("put the damaged folder %q aside: %w", dir, err)
	}
	old, err := filepath.Glob(dir + ".bad-*") // their names sort by time
	if err != nil {
		return to, nil //nolint:nilerr // the folder's own name has a character of a pattern: all stay
	}
	for len(old) > keptBad {
		_ = os.RemoveAll(old[0])
		old = old[1:]
	}
	return to, nil
}

// Wipe removes what a node knows of elections, when it left the cluster or begins one of
// its own. No Elector may run on the folder.
func Wipe(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the folder of the election %q: %w", dir, err)
	}
	return nil
}

// blank reports whether the folder has no configuration: the node never took part, or lost
// its memory.
func blank(s *store, snaps raft.SnapshotStore) (bool, error) {
	last, err := s.LastIndex()
	if err != nil {
		return false, err
	}
	list, err := snaps.List()
	return last == 0 && len(list) == 0, err
}

// found makes the node the only voter of a new group, whose terms begin behind floor. A
// second call after a crash in the middle of the first ends what that began.
func found(s *store, self raft.Server, floor uint64) error {
	if err := raise(s, max(floor, 1)); err != nil {
		return err
	}
	config := raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{self}})
	return s.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: config})
}

// raise makes the term at least floor.
func raise(s *store, floor uint64) error {
	term, err := s.GetUint64(keyTerm)
	if err != nil && !absent(err) {
		return err
	}
	if term >= floor {
		return nil
	}
	return s.SetUint64(keyTerm, floor)
}

// Recover makes the node the only voter of the group in its folder, after the majority of
// the voters was lost for good. It keeps what the log holds. The terms go on behind floor,
// the newest term in the database, so that the fence accepts the node. No Elector may
// run on the folder. The other nodes that remain Wipe theirs and are added again.
func Recover(dir, node, address string, floor uint64) error {
	err := recoverFolder(dir, node, address, floor)
	if err != nil {
		return fmt.Errorf("make this node the only voter: %w", err)
	}
	return nil
}

func recoverFolder(dir, node, address string, floor uint64) error {
	if strings.TrimSpace(node) == "" || address == "" {
		return errors.New("the node's id and address are needed")
	}
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	s, err := openStore(func() (disk, error) { return openFolder(dir) }, storeTime)
	if err != nil {
		return err
	}
	defer s.close()
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, keptSnapshots, silent)
	if err != nil {
		return err
	}
	self := raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(node), Address: raft.ServerAddress(address)}
	empty, err := blank(s, snaps)
	if err != nil {
		return err
	}
	if empty {
		return found(s, self, floor)
	}
	_, transport := raft.NewInmemTransport(raft.ServerAddress(address))
	defer transport.Close() //nolint:errcheck // it holds nothing
	conf := config(relaxed, node, slog.New(slog.DiscardHandler))
	_, err = recovered(func() (struct{}, error) {
		return struct{}{}, raft.RecoverCluster(conf, &ledger{}, s, s, snaps, transport, raft.Configuration{Servers: []raft.Server{self}})
	})
	if err != nil {
		return err
	}
	return raise(s, floor)
}
