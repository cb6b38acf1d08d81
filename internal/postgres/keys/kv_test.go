package keys_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/keys"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// shop is a database with the app shop, its store for functions, and a plain
// connection.
func shop(t testing.TB, quota picloud.KVQuota) (*store.DB, *keys.Store, *pgx.Conn) {
	t.Helper()
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	testdb.App(t, db, "shop")
	return db, db.KV().Of("shop", quota), testdb.Connect(t, dsn)
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	require.NoError(t, err)
	return b
}

func set(t testing.TB, s *keys.Store, key string, v any) int64 {
	t.Helper()
	version, err := s.Set(t.Context(), key, encode(t, v), 0)
	require.NoError(t, err)
	require.Positive(t, version)
	return version
}

// value reads a key; nil: there is none.
func value(t testing.TB, s *keys.Store, key string) any {
	t.Helper()
	e, found, err := s.Get(t.Context(), key, nil)
	require.NoError(t, err)
	if !found {
		return nil
	}
	require.Equal(t, key, e.Key)
	var v any
	require.NoError(t, cbor.Unmarshal(e.Value, &v))
	return v
}

// expire makes a key's entry one that has expired.
func expire(t testing.TB, conn *pgx.Conn, key string) {
	t.Helper()
	tag, err := conn.Exec(t.Context(), `UPDATE kv SET expires_at = now() - interval '1 s' WHERE key = $1`, key)
	require.NoError(t, err)
	require.EqualValues(t, 1, tag.RowsAffected())
}

// requireCounted compares what is counted with what is there.
func requireCounted(t require.TestingT, conn *pgx.Conn, app string) (keys, size int64) {
	var countedKeys, countedSize int64
	err := conn.QueryRow(context.Background(), `
SELECT (SELECT count(*) FROM kv WHERE app = $1), (SELECT coalesce(sum(octet_length(key) + coalesce(octet_length(value), 9)), 0) FROM kv WHERE app = $1),
       (SELECT coalesce(sum(keys), 0) FROM kv_usage WHERE app = $1), (SELECT coalesce(sum(bytes), 0) FROM kv_usage WHERE app = $1)`,
		app).Scan(&keys, &size, &countedKeys, &countedSize)
	require.NoError(t, err)
	require.Equal(t, [2]int64{keys, size}, [2]int64{countedKeys, countedSize}, "what is counted is what is there")
	return keys, size
}

func TestKeys(t *testing.T) {
	_, s, conn := shop(t, picloud.KVQuota{})
	require.Nil(t, value(t, s, "a"))
	one := set(t, s, "a", "text")
	require.Equal(t, "text", value(t, s, "a"))
	two := set(t, s, "a", 7)
	require.NotEqual(t, one, two)
	require.EqualValues(t, 7, value(t, s, "a"))
	e, _, err := s.Get(t.Context(), "a", nil)
	require.NoError(t, err)
	require.Equal(t, picloud.KVEntry{Key: "a", Value: encode(t, 7), Version: two}, e)

	lost, err := s.CompareAndSet(t.Context(), "a", one, encode(t, "no"), 0)
	require.NoError(t, err)
	require.Zero(t, lost)
	lost, err = s.CompareAndSet(t.Context(), "a", 0, encode(t, "no"), 0)
	require.NoError(t, err)
	require.Zero(t, lost)
	lost, err = s.CompareAndSet(t.Context(), "b", two, encode(t, "no"), 0)
	require.NoError(t, err)
	require.Zero(t, lost)
	lost, err = s.CompareAndSet(t.Context(), "a", -1, encode(t, "no"), 0)
	require.NoError(t, err)
	require.Zero(t, lost)
	three, err := s.CompareAndSet(t.Context(), "a", two, encode(t, "yes"), 0)
	require.NoError(t, err)
	require.NotZero(t, three)
	require.Equal(t, "yes", value(t, s, "a"))

	gone, err := s.Delete(t.Context(), "a", two)
	require.NoError(t, err)
	require.False(t, gone)
	gone, err = s.Delete(t.Context(), "a", three)
	require.NoError(t, err)
	require.True(t, gone)
	gone, err = s.Delete(t.Context(), "a", 0)
	require.NoError(t, err)
	require.False(t, gone)
	four, err := s.CompareAndSet(t.Context(), "a", 0, encode(t, nil), 0)
	require.NoError(t, err)
	require.NotContains(t, []int64{0, one, two, three}, four, "no earlier state of the key had it")
	keys, _ := requireCounted(t, conn, "shop")
	require.EqualValues(t, 1, keys)
	gone, err = s.Delete(t.Context(), "a", 0)
	require.NoError(t, err)
	require.True(t, gone)
	requireCounted(t, conn, "shop")
}

func TestIncrement(t *testing.T) {
	_, s, conn := shop(t, picloud.KVQuota{})
	add := func(by int64, want int64) {
		t.Helper()
		sum, err := s.Increment(t.Context(), "n", by, 0)
		require.NoError(t, err)
		require.Equal(t, want, sum)
		require.Equal(t, encode(t, want), encode(t, value(t, s, "n")))
	}
	add(5, 5)
	add(-7, -2)
	add(0, -2)
	set(t, s, "n", int64(math.MaxInt64-1))
	add(1, math.MaxInt64)
	_, err := s.Increment(t.Context(), "n", 1, 0)
	require.ErrorIs(t, err, keys.ErrOverflow)
	add(math.MinInt64, -1)
	add(math.MinInt64+1, math.MinInt64)
	for _, by := range []int64{-1, math.MinInt64} {
		_, err = s.Increment(t.Context(), "n", by, 0)
		require.ErrorIs(t, err, keys.ErrOverflow)
		testdb.RequireCode(t, picloud.CodeConflict, err)
	}
	add(math.MaxInt64, -1)
	for _, v := range []any{"1", 1.5, nil, true, []int{1}, uint64(math.MaxUint64)} {
		set(t, s, "n", v)
		_, err = s.Increment(t.Context(), "n", 1, 0)
		require.ErrorIs(t, err, keys.ErrNotANumber, "%v", v)
	}
	expire(t, conn, "n")
	add(3, 3)
	requireCounted(t, conn, "shop")
}

// No operation sees an expired entry, and a write that finds one removes it.
func TestExpiredEntriesAreThereForNobody(t *testing.T) {
	_, s, conn := shop(t, picloud.KVQuota{})
	old := set(t, s, "k", "old")
	for name, op := range map[string]func() (before, after any){
		"get":  func() (any, any) { return nil, value(t, s, "k") },
		"list": func() (any, any) { items, _, _ := s.List(t.Context(), "", 10, "", nil); return 0, len(items) },
		"set":  func() (any, any) { set(t, s, "k", "new"); return "new", value(t, s, "k") },
		"cas of its version": func() (any, any) {
			v, err := s.CompareAndSet(t.Context(), "k", old, encode(t, 1), 0)
			require.NoError(t, err)
			return int64(0), v
		},
		"cas of none": func() (any, any) {
			v, err := s.CompareAndSet(t.Context(), "k", 0, encode(t, "made"), 0)
			require.NoError(t, err)
			require.Greater(t, v, old)
			return "made", value(t, s, "k")
		},
		"incr": func() (any, any) {
			v, err := s.Increment(t.Context(), "k", 2, 0)
			require.NoError(t, err)
			return int64(2), v
		},
		"delete": func() (any, any) {
			gone, err := s.Delete(t.Context(), "k", 0)
			require.NoError(t, err)
			keys, _ := requireCounted(t, conn, "shop")
			require.Zero(t, keys, "the write that met it removed it")
			return false, gone
		},
		"delete of its version": func() (any, any) {
			gone, err := s.Delete(t.Context(), "k", old)
			require.NoError(t, err)
			return false, gone
		},
	} {
		t.Run(name, func(t *testing.T) {
			old = set(t, s, "k", "old")
			expire(t, conn, "k")
			want, got := op()
			require.Equal(t, want, got)
			requireCounted(t, conn, "shop")
		})
	}
}

func TestEntriesExpire(t *testing.T) {
	_, s, _ := shop(t, picloud.KVQuota{})
	_, err := s.Set(t.Context(), "soon", encode(t, 1), 30*time.Millisecond)
	require.NoError(t, err)
	e, found, err := s.Get(t.Context(), "soon", nil)
	require.NoError(t, err)
	if found {
		require.WithinDuration(t, time.Now(), e.ExpiresAt, 10*time.Second)
	}
	require.Eventually(t, func() bool { return value(t, s, "soon") == nil }, 5*time.Second, 5*time.Millisecond)

	_, err = s.Increment(t.Context(), "n", 1, time.Hour)
	require.NoError(t, err)
	made, _, err := s.Get(t.Context(), "n", nil)
	require.NoError(t, err)
	_, err = s.Increment(t.Context(), "n", 1, 24*time.Hour)
	require.NoError(t, err)
	e, _, err = s.Get(t.Context(), "n", nil)
	require.NoError(t, err)
	require.Equal(t, made.ExpiresAt, e.ExpiresAt, "a ttl is for the key that is made")
	set(t, s, "n", 1)
	e, _, err = s.Get(t.Context(), "n", nil)
	require.NoError(t, err)
	require.Zero(t, e.ExpiresAt)

	_, err = s.Set(t.Context(), "n", encode(t, 1), 1)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return value(t, s, "n") == nil }, 5*time.Second, time.Millisecond, "a nanosecond is not for ever")
}

func TestWhatCannotBeKept(t *testing.T) {
	db, s, _ := shop(t, picloud.KVQuota{})
	for _, key := range []string{"", strings.Repeat("k", 513), "a\x00b", "\xff"} {
		_, err := s.Set(t.Context(), key, encode(t, 1), 0)
		testdb.RequireCode(t, picloud.CodeInvalid, err)
		_, _, err = s.Get(t.Context(), key, nil)
		testdb.RequireCode(t, picloud.CodeInvalid, err)
		_, err = s.Increment(t.Context(), key, 1, 0)
		testdb.RequireCode(t, picloud.CodeInvalid, err)
		_, err = s.Delete(t.Context(), key, 0)
		testdb.RequireCode(t, picloud.CodeInvalid, err)
	}
	_, err := s.Set(t.Context(), strings.Repeat("k", 512), make([]byte, picloud.MaxKVValue), 0)
	require.NoError(t, err)
	_, err = s.Set(t.Context(), "k", make([]byte, picloud.MaxKVValue+1), 0)
	testdb.RequireCode(t, picloud.CodeTooLarge, err)
	_, err = s.Set(t.Context(), "k", nil, 0)
	testdb.RequireCode(t, picloud.CodeInvalid, err)
	for _, ttl := range []time.Duration{-1, picloud.MaxKVTTL + 1} {
		_, err = s.Set(t.Context(), "k", encode(t, 1), ttl)
		testdb.RequireCode(t, picloud.CodeInvalid, err)
	}
	_, err = s.Set(t.Context(), "k", encode(t, 1), picloud.MaxKVTTL)
	require.NoError(t, err)

	nobody := db.KV().Of("nobody", picloud.KVQuota{})
	_, err = nobody.Set(t.Context(), "k", encode(t, 1), 0)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, err = nobody.Increment(t.Context(), "k", 1, 0)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	require.Nil(t, value(t, nobody, "k"))
}

func TestKeysByPrefix(t *testing.T) {
	db, s, _ := shop(t, picloud.KVQuota{})
	testdb.App(t, db, "other")
	set(t, db.KV().Of("other", picloud.KVQuota{}), "a", 0)
	all := []string{"%", "%_", "A", "a", "a%b", "a%c", "a_b", "aa", "ab", "b\\", "z", "ä", "äb", "\ud7ff", "\ud7ffx", "\ue000", "\U0010ffff", "\U0010ffffa"}
	for i, key := range all {
		set(t, s, key, i)
	}
	list := func(prefix string, limit int) (keys []string, pages int) {
		t.Helper()
		for cursor := ""; ; {
			items, next, err := s.List(t.Context(), prefix, limit, cursor, nil)
			require.NoError(t, err)
			require.LessOrEqual(t, len(items), limit)
			pages++
			for _, e := range items {
				keys = append(keys, e.Key)
				var v int
				require.NoError(t, cbor.Unmarshal(e.Value, &v))
				require.Equal(t, all[v], e.Key)
			}
			if cursor = next; cursor == "" {
				return keys, pages
			}
		}
	}
	for _, prefix := range append([]string{"", "x", "a%", "%", "_", "\\", "aab"}, all...) {
		var want []string
		for _, key := range all {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		for _, limit := range []int{1, 2, 1000} {
			keys, pages := list(prefix, limit)
			require.Equal(t, want, keys, "prefix %q", prefix)
			require.Equal(t, max(1, (len(want)+limit-1)/limit), pages, "no empty page at the end")
		}
	}
	for _, cursor := range []string{"!", "a", "_w"} {
		_, _, err := s.List(t.Context(), "", 10, cursor, nil)
		testdb.RequireCode(t, picloud.CodeInvalid, err)
	}
	_, next, err := s.List(t.Context(), "a", 1, "", nil)
	require.NoError(t, err)
	_, _, err = s.List(t.Context(), "b", 1, next, nil)
	testdb.RequireCode(t, picloud.CodeInvalid, err)
	for _, limit := range []int{0, -1, 1001} {
		_, _, err = s.List(t.Context(), "", limit, "", nil)
		testdb.RequireCode(t, picloud.CodeInvalid, err)
	}
	_, _, err = s.List(t.Context(), "\xff", 1, "", nil)
	testdb.RequireCode(t, picloud.CodeInvalid, err)
}

func TestAPageHasAMebibyte(t *testing.T) {
	_, s, _ := shop(t, picloud.KVQuota{})
	big := bytes.Repeat([]byte{0x61}, picloud.MaxKVValue)
	for i := range 9 {
		_, err := s.Set(t.Context(), fmt.Sprintf("k%d", i), big, 0)
		require.NoError(t, err)
	}
	var pages []int
	for cursor := ""; ; {
		items, next, err := s.List(t.Context(), "", 8, cursor, nil)
		require.NoError(t, err)
		pages = append(pages, len(items))
		if cursor = next; cursor == "" {
			break
		}
	}
	require.Equal(t, []int{3, 3, 3}, pages)
}

// A list by prefix reads a range of the index, however often it was prepared.
func TestListsUseTheIndex(t *testing.T) {
	_, _, conn := shop(t, picloud.KVQuota{})
	_, err := conn.Exec(t.Context(), `INSERT INTO kv (app, key, number, version) SELECT 'shop', 'k' || n, n, n FROM generate_series(1, 20000) n; ANALYZE kv`)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `SET plan_cache_mode = force_generic_plan`)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `PREPARE list AS `+keys.SQLList)
	require.NoError(t, err)
	for _, prefix := range []string{"k1234", "k%", "k_", ""} {
		rows, err := conn.Query(t.Context(), `EXPLAIN (ANALYZE, COSTS OFF) EXECUTE list('shop', '`+prefix+`', '`+keys.PrefixEnd(prefix)+`', '', 11, 1000000)`)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		plan := strings.Join(lines, "\n")
		require.Contains(t, plan, "Index Scan using kv_pkey", "%s", plan)
		require.Regexp(t, `Index Cond: .*key.* >= .*key.* < .*key.* > `, plan)
		require.NotContains(t, plan, "Sort", "%s", plan)
		require.NotContains(t, plan, "Rows Removed", "%s", plan)
	}
}

func TestQuota(t *testing.T) {
	_, s, conn := shop(t, picloud.KVQuota{Keys: 3, Bytes: 100})
	set(t, s, "a", 1)                       // 10
	set(t, s, "b", strings.Repeat("x", 28)) // 1 + 30
	set(t, s, "c", 1)                       // 10
	_, err := s.Set(t.Context(), "d", encode(t, 1), 0)
	testdb.RequireCode(t, picloud.CodeQuota, err)
	_, err = s.Increment(t.Context(), "d", 1, 0)
	testdb.RequireCode(t, picloud.CodeQuota, err)
	_, err = s.CompareAndSet(t.Context(), "d", 0, encode(t, 1), 0)
	testdb.RequireCode(t, picloud.CodeQuota, err)
	require.EqualValues(t, 1, value(t, s, "a"))

	set(t, s, "b", strings.Repeat("x", 77)) // 1 + 79: full
	_, err = s.Set(t.Context(), "b", encode(t, strings.Repeat("x", 78)), 0)
	testdb.RequireCode(t, picloud.CodeQuota, err)
	_, err = s.Set(t.Context(), "a", encode(t, strings.Repeat("x", 9)), 0)
	testdb.RequireCode(t, picloud.CodeQuota, err)
	keys, size := requireCounted(t, conn, "shop")
	require.Equal(t, [2]int64{3, 100}, [2]int64{keys, size})
	set(t, s, "a", 99)
	sum, err := s.Increment(t.Context(), "a", 1, 0)
	require.NoError(t, err)
	require.EqualValues(t, 100, sum)

	// Expired entries make room, others do not.
	expire(t, conn, "c")
	set(t, s, "d", 1)
	expire(t, conn, "b")
	sum, err = s.Increment(t.Context(), "e", 1, 0)
	require.NoError(t, err)
	require.EqualValues(t, 1, sum)
	keys, size = requireCounted(t, conn, "shop")
	require.Equal(t, [2]int64{3, 30}, [2]int64{keys, size})

	// A smaller quota refuses what adds, and lets people clean up.
	db, full, conn := shop(t, picloud.KVQuota{})
	set(t, full, "a", strings.Repeat("x", 1000))
	set(t, full, "b", 1)
	small := db.KV().Of("shop", picloud.KVQuota{Keys: 1, Bytes: 50})
	_, err = small.Set(t.Context(), "c", encode(t, 1), 0)
	testdb.RequireCode(t, picloud.CodeQuota, err)
	_, err = small.Set(t.Context(), "a", encode(t, strings.Repeat("x", 999)), 0)
	require.NoError(t, err)
	_, err = small.Increment(t.Context(), "b", 1, 0)
	require.NoError(t, err)
	gone, err := small.Delete(t.Context(), "a", 0)
	require.NoError(t, err)
	require.True(t, gone)
	requireCounted(t, conn, "shop")
}

// When many writes run at once without room for all, only writes that were under
// way when the quota was reached exceed it.
func TestTheOvershootIsBounded(t *testing.T) {
	_, s, conn := shop(t, picloud.KVQuota{Keys: 40})
	var wg sync.WaitGroup
	for client := range 12 {
		wg.Go(func() {
			for i := range 12 {
				_, err := s.Set(t.Context(), fmt.Sprintf("%d-%d", client, i), encode(t, i), 0)
				if err != nil && picloud.CodeOf(err) != picloud.CodeQuota {
					t.Errorf("set: %v", err)
				}
			}
		})
	}
	wg.Wait()
	keys, _ := requireCounted(t, conn, "shop")
	require.GreaterOrEqual(t, keys, int64(40))
	require.Less(t, keys, int64(40+4), "a node's functions have four connections, one of which is in time")
	t.Logf("%d keys of 40", keys)
}

func TestCountersLoseNothing(t *testing.T) {
	_, s, conn := shop(t, picloud.KVQuota{})
	const clients, times = 5, 1000
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range times {
				if _, err := s.Increment(t.Context(), "incr", 1, 0); err != nil {
					t.Errorf("increment: %v", err)
					return
				}
			}
		})
		wg.Go(func() {
			for range times {
				for {
					e, _, err := s.Get(t.Context(), "cas", nil)
					if err != nil {
						t.Errorf("get: %v", err)
						return
					}
					n := 0
					if e.Value != nil {
						_ = cbor.Unmarshal(e.Value, &n)
					}
					next, _ := cbor.Marshal(n + 1)
					won, err := s.CompareAndSet(t.Context(), "cas", e.Version, next, 0)
					if err != nil {
						t.Errorf("compare and set: %v", err)
						return
					}
					if won > 0 {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, clients*times, value(t, s, "incr"))
	require.EqualValues(t, clients*times, value(t, s, "cas"))
	requireCounted(t, conn, "shop")
}

func TestDeletingAnAppDeletesItsKeys(t *testing.T) {
	db, s, conn := shop(t, picloud.KVQuota{})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for client := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				_, err := s.Set(t.Context(), fmt.Sprintf("%d-%d", client, i%50), encode(t, i), 0)
				if err != nil && picloud.CodeOf(err) != picloud.CodeNotFound {
					t.Errorf("set: %v", err)
					return
				}
			}
		})
	}
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer end()
	for range 20 {
		require.NoError(t, testdb.ErrorOf(db.Apps().Delete(t.Context(), root, "shop")))
		var left int
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM kv) + (SELECT count(*) FROM kv_usage)`).Scan(&left))
		require.Zero(t, left)
		testdb.App(t, db, "shop")
		require.Eventually(t, func() bool {
			var n int
			return conn.QueryRow(t.Context(), `SELECT count(*) FROM kv`).Scan(&n) == nil && n > 20
		}, 10*time.Second, time.Millisecond)
	}
	end()
	requireCounted(t, conn, "shop")
}

// A deploy does not wait for functions that add keys: of several that take
// turns, one is always under way.
func TestAddingKeysDoesNotHoldUpDeploys(t *testing.T) {
	db, _, conn := shop(t, picloud.KVQuota{})
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `INSERT INTO kv (app, key, number, version) VALUES ('shop', 'k', 1, 1)`)
	require.NoError(t, err)
	start := time.Now()
	testdb.Publish(t, db, "shop", "cart", "1")
	require.Less(t, time.Since(start), 4*time.Second)
	require.NoError(t, tx.Rollback(t.Context()))
}

func TestKeysForPeople(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	dev := people[developer]
	_, err := db.Apps().UpdateSettings(t.Context(), root, "blog", picloud.AppSettings{KV: picloud.KVQuota{Keys: 3}}, 0)
	require.NoError(t, err)
	for role, code := range map[picloud.Role]picloud.Code{"": picloud.CodeNotFound, viewer: picloud.CodeForbidden} {
		who := people[role]
		_, err := db.KV().Put(t.Context(), who, "blog", picloud.KVEntry{Key: "a", Value: encode(t, 1)}, picloud.MatchAny)
		testdb.RequireCode(t, code, err)
		_, err = db.KV().Get(t.Context(), who, "blog", "a")
		testdb.RequireCode(t, code, err)
		testdb.RequireCode(t, code, db.KV().Delete(t.Context(), who, "blog", "a", 0))
		_, _, err = db.KV().List(t.Context(), who, "blog", "", picloud.Page{})
		testdb.RequireCode(t, code, err)
	}
	put := func(e picloud.KVEntry, match picloud.Match) (int64, error) {
		return db.KV().Put(t.Context(), dev, "blog", e, match)
	}
	one, err := put(picloud.KVEntry{Key: "a", Value: encode(t, 1)}, picloud.MatchNone)
	require.NoError(t, err)
	_, err = put(picloud.KVEntry{Key: "a", Value: encode(t, 2)}, picloud.MatchNone)
	testdb.RequireCode(t, picloud.CodePrecondition, err)
	two, err := put(picloud.KVEntry{Key: "a", Value: encode(t, "two"), ExpiresAt: time.Now().Add(time.Hour)}, picloud.MatchVersion(one))
	require.NoError(t, err)
	_, err = put(picloud.KVEntry{Key: "a", Value: encode(t, 2)}, picloud.MatchVersion(one))
	testdb.RequireCode(t, picloud.CodePrecondition, err)
	_, err = put(picloud.KVEntry{Key: "a", Value: encode(t, 2), ExpiresAt: time.Now().Add(-time.Hour)}, picloud.MatchAny)
	testdb.RequireCode(t, picloud.CodeInvalid, err)
	e, err := db.KV().Get(t.Context(), dev, "blog", "a")
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), e.ExpiresAt, time.Minute)
	e.ExpiresAt = time.Time{}
	require.Equal(t, picloud.KVEntry{Key: "a", Value: encode(t, "two"), Version: two}, e)
	require.Equal(t, "two", value(t, db.KV().Of("blog", picloud.KVQuota{}), "a"), "functions see the same")

	for _, key := range []string{"b", "c"} {
		_, err = put(picloud.KVEntry{Key: key, Value: encode(t, key)}, picloud.MatchAny)
		require.NoError(t, err)
	}
	_, err = put(picloud.KVEntry{Key: "d", Value: encode(t, 2)}, picloud.MatchAny)
	testdb.RequireCode(t, picloud.CodeQuota, err)
	items, next, err := db.KV().List(t.Context(), dev, "blog", "", picloud.Page{Limit: 2})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, []string{items[0].Key, items[1].Key})
	items, next, err = db.KV().List(t.Context(), dev, "blog", "", picloud.Page{Limit: 2, Cursor: next})
	require.NoError(t, err)
	require.Equal(t, "c", items[0].Key)
	require.Empty(t, next)

	testdb.RequireCode(t, picloud.CodePrecondition, db.KV().Delete(t.Context(), dev, "blog", "a", picloud.MatchVersion(one)))
	require.NoError(t, db.KV().Delete(t.Context(), dev, "blog", "a", picloud.MatchVersion(two)))
	testdb.RequireCode(t, picloud.CodeNotFound, db.KV().Delete(t.Context(), dev, "blog", "a", 0))
	_, err = db.KV().Get(t.Context(), dev, "blog", "a")
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	testdb.RequireCode(t, picloud.CodeInvalid, db.KV().Delete(t.Context(), dev, "blog", "", 0))
}

func TestExpiredEntriesMakeRoomForPeople(t *testing.T) {
	db, s, conn := shop(t, picloud.KVQuota{})
	_, err := db.Apps().UpdateSettings(t.Context(), root, "shop", picloud.AppSettings{KV: picloud.KVQuota{Keys: 1}}, 0)
	require.NoError(t, err)
	set(t, s, "old", 1)
	expire(t, conn, "old")
	_, err = db.KV().Put(t.Context(), root, "shop", picloud.KVEntry{Key: "new", Value: encode(t, 1)}, picloud.MatchNone)
	require.NoError(t, err)
	requireCounted(t, conn, "shop")
}

// Functions wait two seconds for the database at most, and do not take the
// connections of others.
func TestFunctionsWaitShortly(t *testing.T) {
	db, s, conn := shop(t, picloud.KVQuota{})
	set(t, s, "k", 1)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM kv FOR UPDATE`)
	require.NoError(t, err)
	var wg sync.WaitGroup
	start := time.Now()
	for range 6 {
		wg.Go(func() {
			_, err := s.Set(t.Context(), "k", []byte{2}, 0)
			if picloud.CodeOf(err) != picloud.CodeDatabaseDown {
				t.Errorf("set: %v", err)
			}
		})
	}
	_, _, err = db.Apps().Get(t.Context(), root, "shop")
	require.NoError(t, err)
	require.NoError(t, db.Ping(t.Context()))
	wg.Wait()
	require.Less(t, time.Since(start), 6*time.Second)
	require.NoError(t, tx.Rollback(t.Context()))
	set(t, s, "k", 3)
}

// A lock is written down and synced like a change: what is refused takes none.
func TestALostRaceWritesNothing(t *testing.T) {
	_, s, conn := shop(t, picloud.KVQuota{Keys: 1})
	set(t, s, "k", 1)
	locks := func() (text string) {
		t.Helper()
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT (SELECT xmax FROM kv) || ' ' || (SELECT xmax FROM app)`).Scan(&text))
		return text
	}
	before := locks()
	for _, version := range []int64{0, 1 << 40} {
		won, err := s.CompareAndSet(t.Context(), "k", version, encode(t, 2), 0)
		require.NoError(t, err)
		require.Zero(t, won)
	}
	_, err := s.Set(t.Context(), "another", encode(t, 2), 0)
	testdb.RequireCode(t, picloud.CodeQuota, err)
	require.Equal(t, before, locks())
}
