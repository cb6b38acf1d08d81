package fleet_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// The ledger is a table that only the manager writes: each row has the next number, and a
// row of a change of the catalog has its revision.
const (
	makeLedger = `
CREATE TABLE ledger_head (one boolean PRIMARY KEY DEFAULT true, n bigint NOT NULL);
INSERT INTO ledger_head (n) VALUES (0);
CREATE TABLE ledger (n bigint NOT NULL, epoch bigint NOT NULL, rev bigint)`

	addToLedger = `
WITH next AS (
    UPDATE ledger_head SET n = n + 1 RETURNING n
)
INSERT INTO ledger (n, epoch, rev) SELECT n, $1, nullif($2::bigint, 0) FROM next`
)

// manager is a node that holds itself for the manager, whatever the database says.
type manager struct {
	*store.DB
	epoch atomic.Int64
}

func newManager(t *testing.T, dsn string, change ...func(*postgres.Options)) *manager {
	t.Helper()
	m := &manager{}
	o := postgres.Options{DSN: dsn, MaxConns: 1, Epoch: m.epoch.Load}
	for _, fn := range change {
		fn(&o)
	}
	var err error
	m.DB, err = store.Open(o)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

// The ways in which a manager writes.
var ways = []func(m *manager, ctx context.Context, epoch int64) (rev int64, err error){
	(*manager).byDuty, (*manager).byBatch, (*manager).byChange, (*manager).byChange,
}

func (m *manager) byDuty(ctx context.Context, epoch int64) (rev int64, err error) {
	return 0, m.Lead(ctx, postgres.About("add to the ledger", ""), epoch, func(b *pgx.Batch) { b.Queue(addToLedger, epoch, 0) })
}

func (m *manager) byBatch(ctx context.Context, epoch int64) (rev int64, err error) {
	m.epoch.Store(epoch)
	return 0, m.Batch(ctx, postgres.About("add to the ledger", ""), func(b *pgx.Batch) { b.Queue(addToLedger, epoch, 0) },
		func(results pgx.BatchResults) error { _, err := results.Exec(); return err })
}

func (m *manager) byChange(ctx context.Context, epoch int64) (rev int64, err error) {
	return m.frozen(ctx, epoch, func() {}, func() {})
}

// frozen is a change of the catalog with what happens in the middle of it, and before its end.
func (m *manager) frozen(ctx context.Context, epoch int64, middle, last func()) (rev int64, err error) {
	m.epoch.Store(epoch)
	return m.ChangeAsAdmin(ctx, postgres.About("add to the ledger", ""), testdb.Root, func(ctx context.Context, c *postgres.Change) error {
		if err := c.Bump(ctx); err != nil {
			return err
		}
		middle()
		if err := c.Exec(ctx, addToLedger, epoch, c.Rev); err != nil {
			return err
		}
		last()
		return nil
	})
}

// ledger is a database with a ledger, and a plain connection to it.
func ledger(t *testing.T) (dsn, cluster string, db *store.DB, conn *pgx.Conn) {
	t.Helper()
	dsn = testdb.DSN(t)
	db = testdb.OpenWithRoot(t, dsn)
	conn = testdb.Connect(t, dsn)
	_, err := conn.Exec(t.Context(), makeLedger)
	require.NoError(t, err)
	h, err := db.Leadership().Show(t.Context())
	require.NoError(t, err)
	return dsn, h.Cluster, db, conn
}

func rowsOf(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM ledger`).Scan(&n))
	return n
}

// TestAChangeUnderWayEndsBeforeTheNextEpoch: another node gets the leadership only when the
// change that the manager has under way is committed. After that nothing of the manager's
// epoch is written.
func TestAChangeUnderWayEndsBeforeTheNextEpoch(t *testing.T) {
	dsn, id, db, conn := ledger(t)
	m, l := newManager(t, dsn), db.Leadership()
	for _, add := range ways {
		_, err := add(m, t.Context(), 1)
		testdb.RequireCode(t, picloud.CodeDeposed, err) // nobody leads yet
	}
	old, err := l.Acquire(t.Context(), id, 1, nodeA)
	require.NoError(t, err)
	for _, add := range ways {
		_, err := add(m, t.Context(), old)
		require.NoError(t, err)
	}
	before := rowsOf(t, conn)

	inside, release, acquired := make(chan struct{}), make(chan struct{}), make(chan int64, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	let := sync.OnceFunc(func() { close(release) })
	defer let() // also when the test fails
	wg.Go(func() {
		_, err := m.frozen(t.Context(), old, func() {}, func() { close(inside); <-release })
		if err != nil {
			t.Errorf("the change under way: %v", err)
		}
	})
	<-inside
	wg.Go(func() {
		epoch, err := l.Acquire(t.Context(), id, 2, nodeB)
		if err != nil {
			t.Errorf("acquire: %v", err)
		}
		acquired <- epoch
	})
	require.Eventually(t, func() bool {
		var waiting int
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted`).Scan(&waiting))
		return waiting > 0
	}, 10*time.Second, time.Millisecond, "the next manager waits")
	require.Empty(t, acquired)
	require.Equal(t, before, rowsOf(t, conn))
	let()
	require.Equal(t, old+1, <-acquired)
	require.Equal(t, before+1, rowsOf(t, conn), "the change was there first")

	for _, add := range ways {
		_, err := add(m, t.Context(), old)
		testdb.RequireCode(t, picloud.CodeDeposed, err)
	}
	require.Equal(t, before+1, rowsOf(t, conn))
}

// TestAFrozenChangeIsOvertaken: the server ends the session of a manager that says nothing in
// the middle of a change, so that another node gets the leadership. When the manager goes on,
// it hears of that, and nothing is written: in the middle, before the commit, and after more
// time than the operation has.
func TestAFrozenChangeIsOvertaken(t *testing.T) {
	for name, c := range map[string]struct{ last, late bool }{"in the middle": {}, "before the commit": {last: true}, "for long": {late: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, id, db, conn := ledger(t)
			m := newManager(t, dsn, func(o *postgres.Options) { o.StatementTimeout = 300 * time.Millisecond })
			old, err := db.Leadership().Acquire(t.Context(), id, 1, nodeA)
			require.NoError(t, err)
			head := testdb.Head(t, db)
			times := 0
			freeze := func() {
				if times++; times > 1 {
					return
				}
				_, err := db.Leadership().Acquire(t.Context(), id, 2, nodeB)
				require.NoError(t, err)
				if c.late {
					<-time.After(6 * time.Second) // the operation has 5
				}
			}
			middle, last := freeze, func() {}
			if c.last {
				middle, last = last, middle
			}
			_, err = m.frozen(t.Context(), old, middle, last)
			testdb.RequireCode(t, picloud.CodeDeposed, err)
			require.Equal(t, 1, times)
			require.Zero(t, rowsOf(t, conn))
			require.Equal(t, head, testdb.Head(t, db))
		})
	}
}

// stress is how long TestFencedWritesUnderStress lasts; PICLOUD_TEST_FENCE=10m makes it long.
func stress(t *testing.T) time.Duration {
	text := os.Getenv("PICLOUD_TEST_FENCE")
	if text == "" {
		return 3 * time.Second
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}

// Many managers write to a ledger and to the catalog while the leadership moves; three of
// four writes use an epoch that is over. Without the fence the ledger has rows of an earlier
// epoch behind those of a later one.
func TestFencedWritesUnderStress(t *testing.T) {
	const writers, leaders = 24, 2
	dsn, id, db, conn := ledger(t)
	head := testdb.Head(t, db)
	var epoch, added, bumped, refused, changes, slowest atomic.Int64
	var term atomic.Uint64
	var mu sync.Mutex
	older := map[int64]int64{} // rows of earlier epochs when an epoch began
	ctx, cancel := context.WithTimeout(t.Context(), stress(t))
	defer cancel()
	var wg sync.WaitGroup
	for range writers {
		m := newManager(t, dsn)
		wg.Go(func() {
			for ctx.Err() == nil {
				use := epoch.Load()
				if rand.IntN(4) > 0 {
					use -= rand.Int64N(5)
				}
				rev, err := ways[rand.IntN(len(ways))](m, context.WithoutCancel(ctx), max(1, use))
				switch {
				case err == nil:
					added.Add(1)
					if rev > 0 {
						bumped.Add(1)
					}
				case picloud.CodeOf(err) == picloud.CodeDeposed:
					refused.Add(1)
				default:
					t.Errorf("add with epoch %d: %v", use, err)
					return
				}
			}
		})
	}
	for i := range leaders {
		node, look := testdb.Open(t, dsn), testdb.Connect(t, dsn)
		wg.Go(func() { // it is elected again and again
			for ctx.Err() == nil {
				began := time.Now()
				got, err := node.Leadership().Acquire(context.WithoutCancel(ctx), id, term.Add(1), fmt.Sprintf("6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a%02d", i))
				switch {
				case err == nil:
					changes.Add(1)
					var rows int64
					if err := look.QueryRow(context.WithoutCancel(ctx), `SELECT count(*) FROM ledger WHERE epoch < $1`, got).Scan(&rows); err != nil {
						t.Errorf("count: %v", err)
						return
					}
					mu.Lock()
					older[got] = rows
					mu.Unlock()
					for now := epoch.Load(); now < got && !epoch.CompareAndSwap(now, got); now = epoch.Load() {
					}
					for took, now := int64(time.Since(began)), slowest.Load(); took > now && !slowest.CompareAndSwap(now, took); now = slowest.Load() {
					}
				case picloud.CodeOf(err) != picloud.CodeDeposed:
					t.Errorf("acquire: %v", err)
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
				}
			}
		})
	}
	wg.Wait()

	var rows, distinct, last, back, epochs, revs, distinctRevs, lastRev int64
	require.NoError(t, conn.QueryRow(t.Context(), `
		SELECT count(*), count(DISTINCT n), coalesce(max(n), 0), count(*) FILTER (WHERE epoch < before), count(DISTINCT epoch),
			count(rev), count(DISTINCT rev), coalesce(max(rev), 0)
		FROM (SELECT n, epoch, rev, lag(epoch) OVER (ORDER BY n) AS before FROM ledger) l`).
		Scan(&rows, &distinct, &last, &back, &epochs, &revs, &distinctRevs, &lastRev))
	t.Logf("%d rows, %d of them changes of the catalog, in %d epochs; %d refused; %d changes of the leadership, the slowest in %v",
		rows, revs, epochs, refused.Load(), changes.Load(), time.Duration(slowest.Load()))
	require.Equal(t, added.Load(), rows, "what was acknowledged is there, and nothing else")
	require.Equal(t, rows, distinct, "no duplicates")
	require.Equal(t, rows, last, "no gaps")
	require.Equal(t, bumped.Load(), revs)
	require.Equal(t, revs, distinctRevs, "no revision twice")
	require.Equal(t, head+revs, lastRev, "no gap of revisions")
	require.Equal(t, lastRev, testdb.Head(t, db))
	require.Zero(t, back, "no row of an earlier epoch behind one of a later")
	for got, then := range older {
		var now int64
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM ledger WHERE epoch < $1`, got).Scan(&now))
		require.Equal(t, then, now, "rows of earlier epochs than %d, which began before they were written", got)
	}
	require.Greater(t, epochs, int64(10))
	require.Greater(t, refused.Load(), rows/4)
	h, err := db.Leadership().Show(t.Context())
	require.NoError(t, err)
	require.Equal(t, changes.Load(), h.Epoch, "each change has an epoch of its own")
}
