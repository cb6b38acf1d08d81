package postgres_test

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// heard collects what a listener calls back with.
type heard struct {
	mu   sync.Mutex
	said []string
}

func (h *heard) on(channel, payload string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, channel+" "+payload)
}

func (h *heard) count(what string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.said {
		if s == what {
			n++
		}
	}
	return n
}

func (h *heard) until(t *testing.T, what string, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return h.count(what) >= n }, 30*time.Second, 5*time.Millisecond, "%q", what)
}

func TestChangesAreNotified(t *testing.T) {
	server := testdb.Server(t) // channels are the database's: nobody else must notify
	db := testdb.OpenWithRoot(t, server.DSN())
	var h heard
	l := db.Listen([]string{postgres.CatalogChannel, postgres.NodeChannel}, h.on)
	require.NoError(t, l.Start(t.Context()))
	defer l.Stop()
	require.Error(t, l.Start(t.Context()))
	h.until(t, " ", 1)

	p := testdb.Publish(t, db, "blog", "hello", "1")
	h.until(t, postgres.CatalogChannel+" "+strconv.FormatInt(p.Deployment.Rev, 10), 1)
	testdb.Publish(t, db, "blog", "hello", "1") // changes nothing
	node := picloud.Node{ID: "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11", Name: "pi-1", Rev: 1, StartedAt: time.Now()}
	require.NoError(t, db.Nodes().Report(t.Context(), node))
	h.until(t, postgres.NodeChannel+" "+node.ID, 1)
	require.NoError(t, db.Nodes().Report(t.Context(), node)) // the same revision
	node.Rev = 2
	require.NoError(t, db.Nodes().Report(t.Context(), node))
	h.until(t, postgres.NodeChannel+" "+node.ID, 2)
	last := testdb.Publish(t, db, "blog", "hello", "2")
	h.until(t, postgres.CatalogChannel+" "+strconv.FormatInt(last.Deployment.Rev, 10), 1)

	h.mu.Lock()
	defer h.mu.Unlock()
	require.Len(t, h.said, 5, "one connect, two publications, two reports: %q", h.said)
}

func TestTheListenerComesBack(t *testing.T) {
	server := testdb.Server(t)
	db := testdb.OpenWithRoot(t, server.DSN())
	var h heard
	l := db.Listen([]string{postgres.CatalogChannel}, h.on)
	require.NoError(t, l.Start(t.Context()))
	h.until(t, " ", 1)

	// The server drops the connection.
	conn := testdb.Connect(t, server.DSN())
	_, err := conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'picloud' AND query LIKE '%recovery%'`)
	require.NoError(t, err)
	h.until(t, " ", 3) // lost, and back

	// The server itself goes, and is restarted by its watch.
	testdb.Kill(t, server)
	h.until(t, " ", 5)
	var rev int64
	require.Eventually(t, func() bool {
		p, err := db.Versions().Publish(t.Context(), root, picloud.Publication{App: "blog", Function: "hello", Source: []byte("x"), Create: true, Deploy: true})
		if err == nil {
			rev = p.Deployment.Rev
		}
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
	h.until(t, postgres.CatalogChannel+" "+strconv.FormatInt(rev, 10), 1)

	l.Stop()
	l.Stop()
	said := len(h.said)
	testdb.Publish(t, db, "blog", "hello", "y")
	require.Len(t, h.said, said, "nothing is called after Stop")
}

func TestAListenerNeedsNoServerToStart(t *testing.T) {
	db, err := store.Open(postgres.Options{DSN: "postgres://nobody@/none?host=" + t.TempDir()})
	require.NoError(t, err)
	defer db.Close()
	l := db.Listen([]string{"x"}, func(channel, _ string) {
		if channel != "" { // empty: the server is not reached
			t.Errorf("heard of %s", channel)
		}
	})
	l.Stop() // before Start: nothing
	require.NoError(t, l.Start(t.Context()))
	began := time.Now()
	l.Stop()
	require.Less(t, time.Since(began), 5*time.Second)
}

func TestACallbackThatPanicsEndsOnlyItsConnection(t *testing.T) {
	db := testdb.NewWithRoot(t)
	var h heard
	l := db.Listen([]string{postgres.CatalogChannel}, func(channel, payload string) {
		h.on(channel, payload)
		if h.count(" ") == 1 {
			panic("oops")
		}
	})
	require.NoError(t, l.Start(t.Context()))
	defer l.Stop()
	h.until(t, " ", 2)
}
