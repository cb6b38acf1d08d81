package dump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// house is a source of dumps and the nodes that keep them.
type house struct {
	mu    sync.Mutex
	rev   int64
	taken int
	nodes []string
	full  map[string]bool
	held  map[string][]Manifest
}

func (h *house) Take(_ context.Context, to io.Writer) (Manifest, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taken++
	_, err := to.Write([]byte("a dump"))
	m := of(h.rev, time.Now(), "")
	m.SHA256, m.Size = "", 0
	return m, err
}

// set changes something under way.
func (h *house) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (h *house) Nodes() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.nodes
}

func (h *house) Name(node string) string { return node }

func (h *house) Send(_ context.Context, node string, m Manifest, from io.Reader) error {
	raw, err := io.ReadAll(from)
	if err != nil || len(raw) != int(m.Size) || m.Check() != nil {
		return errors.New("it is not whole")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full[node] {
		return errors.New("its disk is full")
	}
	h.held[node] = append(h.held[node], m)
	return nil
}

func (h *house) Kept(_ context.Context, node string) ([]Manifest, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held[node], nil
}

func (h *house) revision() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rev
}

func newHouse(t *testing.T, nodes ...string) (*house, *Keeper) {
	h := &house{rev: 1, nodes: nodes, full: map[string]bool{}, held: map[string][]Manifest{}}
	return h, NewKeeper(Options{
		Dir: filepath.Join(t.TempDir(), "dumps"), Source: h, Peers: h, Revision: h.revision, Logger: slog.New(slog.DiscardHandler),
	})
}

// TestDumpsInTime: at first, every six hours, and some minutes after a change, not more often
// than every quarter of an hour.
func TestDumpsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := newHouse(t)
		k.Start()
		defer k.Stop()
		wait := func(d time.Duration) int {
			<-time.After(d)
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.taken
		}
		require.Zero(t, wait(24*time.Hour), "there is nobody to keep one")
		h.set(func() { h.nodes = []string{"a", "b", "c"} })
		require.Equal(t, 1, wait(2*time.Minute))
		require.Equal(t, 1, wait(5*time.Hour))
		require.Equal(t, 2, wait(2*time.Hour), "six hours later")
		h.set(func() {
			require.Len(t, h.held["a"], 2)
			require.Len(t, h.held["b"], 2)
			require.Empty(t, h.held["c"], "two are enough")
		})

		wait(20 * time.Minute)
		h.set(func() { h.rev = 2 })
		require.Equal(t, 2, wait(time.Minute), "the catalog has to rest")
		require.Equal(t, 3, wait(3*time.Minute))
		h.set(func() { h.rev = 3 })
		require.Equal(t, 3, wait(10*time.Minute))
		require.Equal(t, 4, wait(5*time.Minute), "a quarter of an hour later")

		h.set(func() { h.full["a"], h.full["b"], h.full["c"] = true, true, true })
		h.set(func() { h.rev = 4 })
		require.Equal(t, 5, wait(16*time.Minute))
		_, err := k.Last()
		require.ErrorContains(t, err, "its disk is full")
		require.Equal(t, 6, wait(6*time.Minute), "soon again")
		require.Equal(t, 7, wait(10*time.Minute), "then later")
		require.Equal(t, 9, wait(time.Hour), "20 and 40 minutes")
		taken := wait(24 * time.Hour)
		require.Equal(t, taken+1, wait(DefaultEvery), "at most every six hours")
		h.set(func() { h.nodes = []string{"a", "b"} })
		require.Equal(t, taken+3, wait(2*again), "another node, another chance: now, and soon again")
		h.set(func() { h.full["b"] = false })
		wait(11 * time.Minute)
		last, err := k.Last()
		require.NoError(t, err)
		require.EqualValues(t, 4, last.Revision)
	})
}

// TestARestartNeedsNoDump: the others keep one that is not old.
func TestARestartNeedsNoDump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := newHouse(t, "a")
		h.held["a"] = []Manifest{of(1, time.Now(), "x")}
		k.Start()
		<-time.After(3 * time.Hour)
		synctest.Wait()
		k.Stop()
		require.Zero(t, h.taken)
	})
}

// TestWhatCannotBeStopsNoDump: a dump of a board whose clock was years ahead, or of a revision
// that is none, counts for nothing, and what this node makes replaces what others have said.
func TestWhatCannotBeStopsNoDump(t *testing.T) {
	for name, lie := range map[string]func(m *Manifest){
		"time":       func(m *Manifest) { m.TakenAt = m.TakenAt.AddDate(4, 0, 0) },
		"revision":   func(m *Manifest) { m.Revision = 1 << 62 },
		"generation": func(m *Manifest) { m.Generation = 1 << 62 }, // believed, for one time
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, k := newHouse(t, "a")
				m := of(1, time.Now(), "x")
				lie(&m)
				h.held["a"] = []Manifest{m}
				k.Start()
				defer k.Stop()
				<-time.After(DefaultEvery + 2*time.Minute)
				synctest.Wait()
				last, err := k.Last()
				require.NoError(t, err)
				require.NotEqual(t, m, last)
				h.set(func() {
					require.Positive(t, h.taken)
					h.rev, h.taken = 2, 0
				})
				<-time.After(seldom + settle + time.Minute)
				synctest.Wait()
				h.set(func() { require.Equal(t, 1, h.taken, "the change is dumped") })
				<-time.After(DefaultEvery + 2*time.Minute)
				synctest.Wait()
				h.set(func() { require.Equal(t, 2, h.taken, "and time goes on") })
			})
		})
	}
}

// TestADumpNow goes to nodes that have room, and leaves nothing here.
func TestADumpNow(t *testing.T) {
	h, k := newHouse(t, "a", "b", "c")
	h.full["a"] = true
	m, err := k.Now(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 6, m.Size)
	require.Equal(t, []Manifest{m}, h.held["b"])
	require.Equal(t, []Manifest{m}, h.held["c"])
	entries, err := os.ReadDir(k.o.Dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	h.nodes = nil
	_, err = k.Now(t.Context())
	require.Equal(t, picloud.CodeDump, picloud.CodeOf(err))
	require.True(t, slices.ContainsFunc(h.held["b"], func(o Manifest) bool { return o == m }))
}

// TestADumpLeavesRoomToTheDatabase: it ends before it fills the disk, and nothing is left of it.
func TestADumpLeavesRoomToTheDatabase(t *testing.T) {
	h, k := newHouse(t, "a")
	chunk := make([]byte, 1<<20)
	k.o.Source = taker(func(to io.Writer) error {
		for range 64 {
			if _, err := to.Write(chunk); err != nil {
				return fmt.Errorf("run pg_dump: %w", err)
			}
		}
		return nil
	})
	const total = 8 << 30
	free, looks := int64(hostRoom+40<<20), 0
	k.space = func(string) (int64, int64, error) {
		looks++
		entries, err := os.ReadDir(k.o.Dir)
		require.NoError(t, err)
		require.Len(t, entries, 1)
		info, err := entries[0].Info()
		require.NoError(t, err)
		require.Greater(t, free-info.Size(), int64(hostRoom))
		return free - info.Size(), total, nil
	}
	_, err := k.Now(t.Context())
	require.Equal(t, picloud.CodeDump, picloud.CodeOf(err))
	require.ErrorContains(t, err, "no room")
	require.Equal(t, 3, looks)
	require.Empty(t, h.held["a"])
	entries, err := os.ReadDir(k.o.Dir)
	require.NoError(t, err)
	require.Empty(t, entries)

	free += 64 << 20
	_, err = k.Now(t.Context())
	require.NoError(t, err)
	require.Len(t, h.held["a"], 1)
}

// taker is a source that writes what it likes.
type taker func(to io.Writer) error

func (f taker) Take(_ context.Context, to io.Writer) (Manifest, error) {
	m := of(1, time.Now(), "")
	return m, f(to)
}

// TestNoDumpsInTime: 0 in the settings turns them off.
func TestNoDumpsInTime(t *testing.T) {
	h, k := newHouse(t, "a")
	k.o.Every = -1
	k.Start()
	k.Stop()
	require.Zero(t, h.taken)
}
