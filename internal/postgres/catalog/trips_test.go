package catalog_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// counted opens the database of a DSN through a proxy that counts the round
// trips of all connections: each is a Sync or a simple query of the client.
func counted(t *testing.T, dsn string) (*store.DB, *atomic.Int64) {
	t.Helper()
	trips := new(atomic.Int64)
	way := testdb.Through(t, dsn, func(client io.Reader, server io.Writer) { forward(client, server, trips) })
	db, err := store.Open(postgres.Options{DSN: way})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db, trips
}

// forward copies a client's messages to the server and counts round trips.
func forward(client io.Reader, server io.Writer, trips *atomic.Int64) {
	r := bufio.NewReader(client)
	for head := 4; ; head = 5 { // the first message has no type
		b, err := r.Peek(head)
		if err != nil {
			return
		}
		if head == 5 && (b[0] == 'S' || b[0] == 'Q') {
			trips.Add(1)
		}
		size := int64(head) - 4 + int64(binary.BigEndian.Uint32(b[head-4:]))
		if _, err := io.CopyN(server, r, size); err != nil {
			return
		}
	}
}

// A deploy holds the lock that all changes of the catalog wait for, so each of
// its round trips delays them all. The first two of each begin the transaction
// and take the lock.
func TestDeploysTakeFewRoundTrips(t *testing.T) {
	dsn := testdb.DSN(t)
	testdb.OpenWithRoot(t, dsn)
	db, trips := counted(t, dsn)
	publishTo := func(app, source string) {
		t.Helper()
		testdb.Publish(t, db, app, "hello", source)
	}
	n := 0
	next := func() string { n++; return fmt.Sprintf("v%d", n) }
	for _, op := range []struct {
		what string
		want int64
		do   func()
	}{
		{"a first deploy, which makes app and function", 6, func() { publishTo(next(), "x") }},
		{"a deploy of a new version", 5, func() { publishTo("blog", next()) }},
		{"a deploy of the live code", 4, func() { publishTo("blog", fmt.Sprintf("v%d", n)) }},
		{"a roll-back", 5, func() {
			n++
			_, err := db.Deployments().Rollback(t.Context(), root, "blog", "hello", 1+n%2)
			require.NoError(t, err)
		}},
		{"a deploy of an earlier version", 5, func() {
			n++
			_, err := db.Deployments().Deploy(t.Context(), root, "blog", "hello", 1+n%2)
			require.NoError(t, err)
		}},
		{"a publication without a deploy", 5, func() {
			_, err := db.Versions().Publish(t.Context(), root, picloud.Publication{App: "blog", Function: "hello", Source: []byte("draft " + next())})
			require.NoError(t, err)
		}},
	} {
		// The first one prepares its statements; one may check a connection that
		// was idle for long.
		fewest := int64(math.MaxInt64)
		for range 4 {
			before := trips.Load()
			op.do()
			fewest = min(fewest, trips.Load()-before)
		}
		require.Equal(t, op.want, fewest, op.what)
	}
}
