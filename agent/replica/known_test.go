package replica

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// witness notes in which order a syncer speaks to the database.
type witness struct{ calls []string }

func (w *witness) Delta(context.Context, string, string, int64) (picloud.Delta, error) {
	w.calls = append(w.calls, "delta")
	return picloud.Delta{Incarnation: "one", Rev: 7, Full: true}, nil
}

func (w *witness) Sources(context.Context, []picloud.Digest) (map[picloud.Digest][]byte, error) {
	return nil, nil //nolint:nilnil // no source
}

func (w *witness) Report(_ context.Context, n picloud.Node) error {
	w.calls = append(w.calls, map[int64]string{0: "report nothing", 7: "report 7"}[n.Rev])
	return nil
}

func (w *witness) List(context.Context) ([]picloud.Node, error) { return nil, nil }

// TestANodeIsKnownBeforeItServes: from its first request on, no deploy is
// complete without it.
func TestANodeIsKnownBeforeItServes(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	r := New(t.TempDir(), func(Change) {}, log)
	require.NoError(t, r.Boot())
	w := &witness{}
	s := NewSyncer(r, w, w, func() picloud.Node { return picloud.Node{Rev: r.Durable(), SeenAt: time.Now()} })
	require.NoError(t, s.pull(t.Context()))
	require.NoError(t, s.pull(t.Context()))
	require.Equal(t, []string{"report nothing", "delta", "report 7", "delta", "report 7"}, w.calls)
}
