package keys_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
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
