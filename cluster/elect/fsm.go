package elect

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// maxEntry bounds an entry of the log and a snapshot, in bytes.
const maxEntry = 1024

// ledger is what the log of Raft says: who leads in which term. It implements raft.FSM.
// An entry is the JSON of the node; the term is that of the entry, so that a node whose
// entry was committed has the proof that it led in that term.
type ledger struct{ last atomic.Pointer[Lead] }

type entry struct {
	Node string `json:"node"`
}

var errEntry = errors.New("the entry is not one of this version")

// Apply returns the Lead that the entry stands for, or an error for an entry of a later
// version, which changes nothing.
func (l *ledger) Apply(log *raft.Log) any {
	var e entry
	if len(log.Data) > maxEntry || json.Unmarshal(log.Data, &e) != nil || e.Node == "" {
		return errEntry
	}
	lead := Lead{e.Node, log.Term}
	l.last.Store(&lead)
	return lead
}

// Snapshot implements raft.FSM.
func (l *ledger) Snapshot() (raft.FSMSnapshot, error) {
	var s snapshot
	if last := l.last.Load(); last != nil {
		s.Lead = *last
	}
	return s, nil
}

// Restore implements raft.FSM.
func (l *ledger) Restore(from io.ReadCloser) error {
	defer from.Close()
	var s snapshot
	if err := json.NewDecoder(io.LimitReader(from, maxEntry)).Decode(&s); err != nil {
		return fmt.Errorf("read a snapshot of the election: %w", err)
	}
	l.last.Store(&s.Lead)
	return nil
}

// snapshot is a ledger at one moment.
type snapshot struct {
	Lead Lead `json:"lead"`
}

// Persist implements raft.FSMSnapshot.
func (s snapshot) Persist(to raft.SnapshotSink) error {
	text, err := json.Marshal(s)
	if err == nil {
		_, err = to.Write(text)
	}
	if err != nil {
		_ = to.Cancel() // the error of the write says more
		return err
	}
	return to.Close()
}

// Release implements raft.FSMSnapshot.
func (snapshot) Release() {}
