package elect

import (
	"bytes"
	"io"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/picloud/picloud/internal/previous"
)

// TestEntriesOfTheVersionBefore: voters of both versions have the same log.
func TestEntriesOfTheVersionBefore(t *testing.T) {
	previous.JSON(t, "entry.json", entry{Node: nodeID(1)}, func(raw []byte) (e entry, err error) {
		var l ledger
		lead, ok := l.Apply(&raft.Log{Term: 3, Data: bytes.TrimSpace(raw)}).(Lead)
		if !ok || lead.Term != 3 {
			return e, errEntry
		}
		return entry{lead.Node}, nil
	})
	previous.JSON(t, "snapshot.json", snapshot{Lead{Node: nodeID(1), Term: 3}}, func(raw []byte) (snapshot, error) {
		var l ledger
		if err := l.Restore(io.NopCloser(bytes.NewReader(raw))); err != nil {
			return snapshot{}, err
		}
		return snapshot{*l.last.Load()}, nil
	})
}
