package keys_test

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// The server is killed while functions count. Each count that was acknowledged
// is there, and of those that were refused at most that many more.
func TestKillingTheServerLosesNoCount(t *testing.T) {
	server := testdb.Server(t)
	db := testdb.OpenWithRoot(t, server.DSN())
	testdb.App(t, db, "shop")
	s := db.KV().Of("shop", picloud.KVQuota{})
	const clients = 4
	var acknowledged, unknown [clients]int64
	var total atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for c := range clients {
		key := fmt.Sprint("n", c)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch _, err := s.Increment(t.Context(), key, 1, 0); {
				case err == nil:
					acknowledged[c]++
					total.Add(1)
				case picloud.CodeOf(err) == picloud.CodeDatabaseDown:
					unknown[c]++
				default:
					t.Errorf("increment: %v", err)
					return
				}
			}
		})
	}
	for range 2 {
		before := total.Load()
		require.Eventually(t, func() bool { return total.Load() > before+100 }, time.Minute, 5*time.Millisecond)
		killed := server.PID()
		testdb.Kill(t, server)
		require.Eventually(t, func() bool {
			pid := server.PID()
			return pid != 0 && pid != killed && db.Ping(t.Context()) == nil
		}, time.Minute, 10*time.Millisecond)
	}
	before := total.Load()
	require.Eventually(t, func() bool { return total.Load() > before+100 }, time.Minute, 5*time.Millisecond, "functions have their store back")
	close(stop)
	wg.Wait()
	for c := range clients {
		n := int64(value(t, s, fmt.Sprint("n", c)).(uint64))
		require.GreaterOrEqual(t, n, acknowledged[c])
		require.LessOrEqual(t, n, acknowledged[c]+unknown[c])
	}
	t.Logf("%v acknowledged, %v unknown", acknowledged, unknown)
}

// TestWhatIsKnownToBeGoneFailsAtOnce: the first operation finds out, the others do not wait,
// and the next answer of the server ends it.
func TestWhatIsKnownToBeGoneFailsAtOnce(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	require.NoError(t, err)
	defer deaf.Close()
	told := make(chan struct{}, 1)
	db, err := store.Open(postgres.Options{DSN: "postgres://u@" + deaf.Addr().String() + "/db?sslmode=disable", OnTrouble: func() { told <- struct{}{} }})
	require.NoError(t, err)
	defer db.Close()
	s := db.KV().Of("shop", picloud.KVQuota{})
	begun := time.Now()
	_, err = s.Increment(t.Context(), "n", 1, 0)
	testdb.RequireDown(t, err)
	require.Less(t, time.Since(begun), 5*time.Second)
	<-told
	for range 100 {
		begun = time.Now()
		_, err = s.Increment(t.Context(), "n", 1, 0)
		testdb.RequireDown(t, err)
		_, _, err = s.Get(t.Context(), "n", nil)
		testdb.RequireDown(t, err)
		require.Less(t, time.Since(begun), 50*time.Millisecond)
	}
}

// TestAFullPoolIsNoTrouble: functions that wait for one another say nothing of the server.
func TestAFullPoolIsNoTrouble(t *testing.T) {
	dsn := testdb.DSN(t)
	testdb.App(t, testdb.OpenWithRoot(t, dsn), "shop")
	db, err := store.Open(postgres.Options{DSN: dsn, OnTrouble: func() { t.Error("the server is in no trouble") }})
	require.NoError(t, err)
	defer db.Close()
	s := db.KV().Of("shop", picloud.KVQuota{})
	_, err = s.Increment(t.Context(), "n", 1, 0)
	require.NoError(t, err)
	tx, err := testdb.Connect(t, dsn).Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK kv`)
	require.NoError(t, err)
	var calls sync.WaitGroup
	for range 12 {
		calls.Go(func() {
			_, err := s.Increment(t.Context(), "n", 1, 0)
			testdb.RequireDown(t, err)
		})
	}
	calls.Wait()
	require.False(t, db.Trouble())
	require.NoError(t, tx.Rollback(t.Context()))
	_, err = s.Increment(t.Context(), "n", 1, 0)
	require.NoError(t, err)
}
