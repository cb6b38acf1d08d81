package keys_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/fxamacker/cbor/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/keys"
)

// kvOp is one request to a key. "expire" is what time does: it makes the entry
// one that has expired.
type kvOp struct {
	kind    string // get, set, cas, incr, delete, expire
	key     string
	version int64 // that cas and delete ask for
	value   any   // int64 or string
}

// kvOut is what a client saw.
type kvOut struct {
	refused string // no room, no number
	version int64  // read or made; expire: that was there
	value   any    // read, or the sum
	done    bool   // deleted
}

// kvState is a key's state; version 0: it is not there, -1: it has one that
// nobody has seen, as after a count.
type kvState struct {
	version int64
	value   any
}

// step says whether a key in this state may answer so, and what it is then.
func (s kvState) step(op kvOp, out kvOut) (bool, kvState) {
	is := func(version int64) bool { return s.version == version || s.version == -1 && version > 0 }
	if out.refused == "quota" {
		return op.kind == "set" || op.kind == "cas" || op.kind == "incr" && s.version == 0, s
	}
	switch op.kind {
	case "get":
		return is(out.version) && s.value == out.value, kvState{out.version, s.value}
	case "set":
		return out.version > 0, kvState{out.version, op.value}
	case "cas":
		if out.version > 0 {
			return is(op.version), kvState{out.version, op.value}
		}
		return s.version != op.version, s
	case "incr":
		n, number := s.value.(int64)
		if s.version != 0 && !number {
			return out.refused == "not a number", s
		}
		return out.refused == "" && out.value == n+op.value.(int64), kvState{-1, out.value}
	case "delete":
		if out.done {
			return s.version != 0 && (op.version == 0 || is(op.version)), kvState{}
		}
		return s.version == 0 || op.version != 0 && s.version != op.version, s
	}
	return is(out.version), kvState{} // expire
}

func kvModel() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			byKey := map[string][]porcupine.Operation{}
			for _, o := range history {
				byKey[o.Input.(kvOp).key] = append(byKey[o.Input.(kvOp).key], o)
			}
			var parts [][]porcupine.Operation
			for _, part := range byKey {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() any { return kvState{} },
		Step: func(state, input, output any) (bool, any) {
			return state.(kvState).step(input.(kvOp), output.(kvOut))
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
	}
}

// ask performs an operation.
func ask(ctx context.Context, s *keys.Store, side *pgxpool.Pool, op kvOp) (out kvOut, err error) {
	value, err := cbor.Marshal(op.value)
	if err != nil {
		return out, err
	}
	switch op.kind {
	case "get":
		var e picloud.KVEntry
		if e, _, err = s.Get(ctx, op.key, nil); e.Version > 0 {
			out.version = e.Version
			if out.value, err = decode(e.Value); err != nil {
				return out, err
			}
		}
	case "set":
		out.version, err = s.Set(ctx, op.key, value, 0)
	case "cas":
		out.version, err = s.CompareAndSet(ctx, op.key, op.version, value, time.Hour)
	case "incr":
		var sum int64
		sum, err = s.Increment(ctx, op.key, op.value.(int64), 0)
		out.value = sum
	case "delete":
		out.done, err = s.Delete(ctx, op.key, op.version)
	case "expire":
		err = side.QueryRow(ctx, `
WITH ended AS (UPDATE kv SET expires_at = '-infinity' WHERE key = $1 AND expires_at IS DISTINCT FROM '-infinity' RETURNING version)
SELECT coalesce((SELECT version FROM ended), 0)`, op.key).Scan(&out.version)
	}
	switch {
	case picloud.CodeOf(err) == picloud.CodeQuota:
		return kvOut{refused: "quota"}, nil
	case errors.Is(err, keys.ErrNotANumber):
		return kvOut{refused: "not a number"}, nil
	}
	return out, err
}

func decode(b []byte) (any, error) {
	var n int64
	if err := cbor.Unmarshal(b, &n); err == nil {
		return n, nil
	}
	var text string
	err := cbor.Unmarshal(b, &text)
	return text, err
}

// Random histories of concurrent clients can be put in an order in which each
// request does what it does alone, in stores with room and in such as are full;
// no version comes twice, and what is counted is what is there.
func TestKeysAreLinearizable(t *testing.T) {
	db, _, conn := shop(t, picloud.KVQuota{})
	side, err := pgxpool.New(t.Context(), conn.Config().ConnString())
	require.NoError(t, err)
	defer side.Close()
	kinds := []string{"get", "get", "set", "set", "cas", "cas", "incr", "incr", "delete", "expire"}
	refused := 0
	for history := range 60 {
		quota, keys := picloud.KVQuota{}, 2
		if history%3 == 0 {
			quota, keys = picloud.KVQuota{Keys: 3, Bytes: 150}, 6
		}
		s := db.KV().Of("shop", quota)
		_, err := conn.Exec(t.Context(), `DELETE FROM kv; DELETE FROM kv_usage`)
		require.NoError(t, err)
		var mu sync.Mutex
		var events []porcupine.Operation
		versions := map[int64]bool{}
		var wg sync.WaitGroup
		for client := range 6 {
			rng := rand.New(rand.NewPCG(uint64(history), uint64(client)))
			wg.Go(func() {
				seen := map[string]int64{}
				for range 12 {
					op := kvOp{kind: kinds[rng.IntN(len(kinds))], key: fmt.Sprintf("k%d", rng.IntN(keys)), value: int64(rng.IntN(1000))}
					if op.kind == "cas" || op.kind == "delete" && rng.IntN(2) == 0 {
						op.version = seen[op.key]
					}
					if (op.kind == "set" || op.kind == "cas") && rng.IntN(4) == 0 {
						op.value = strings.Repeat("x", rng.IntN(80))
					}
					call := time.Now().UnixNano()
					out, err := ask(t.Context(), s, side, op)
					end := time.Now().UnixNano()
					if err != nil {
						t.Errorf("%+v: %v", op, err)
						return
					}
					if op.kind == "get" {
						seen[op.key] = out.version
					}
					mu.Lock()
					if made := out.version > 0 && (op.kind == "set" || op.kind == "cas"); made && versions[out.version] {
						t.Errorf("version %d came twice", out.version)
					} else if made {
						versions[out.version] = true
					}
					if out.refused == "quota" {
						refused++
					}
					events = append(events, porcupine.Operation{ClientId: client, Input: op, Output: out, Call: call, Return: end})
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(kvModel(), events, 20*time.Second), "history %d", history)
		n, size := requireCounted(t, conn, "shop")
		if quota.Keys > 0 { // a write that is refused next is one of four at most
			require.LessOrEqual(t, n, int64(quota.Keys+3))
			require.LessOrEqual(t, size, int64(quota.Bytes)+3*(2+81+2))
		}
	}
	require.Positive(t, refused)
}

// The model itself refuses what must not happen.
func TestTheKeysModelSeesALostUpdate(t *testing.T) {
	at := func(client int, call int64, op kvOp, out kvOut) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Input: op, Output: out, Call: call, Return: call + 10}
	}
	bad := [][]porcupine.Operation{
		{ // two win the same version
			at(0, 0, kvOp{"set", "k", 0, int64(1)}, kvOut{version: 1}),
			at(0, 20, kvOp{"cas", "k", 1, int64(2)}, kvOut{version: 2}),
			at(1, 20, kvOp{"cas", "k", 1, int64(2)}, kvOut{version: 3}),
		},
		{ // one of two counts is lost
			at(0, 0, kvOp{"incr", "k", 0, int64(1)}, kvOut{value: int64(1)}),
			at(1, 0, kvOp{"incr", "k", 0, int64(1)}, kvOut{value: int64(1)}),
		},
		{ // an expired entry is read
			at(0, 0, kvOp{"set", "k", 0, int64(1)}, kvOut{version: 1}),
			at(0, 20, kvOp{"expire", "k", 0, nil}, kvOut{version: 1}),
			at(0, 40, kvOp{"get", "k", 0, nil}, kvOut{version: 1, value: int64(1)}),
		},
	}
	for i, history := range bad {
		require.False(t, porcupine.CheckOperations(kvModel(), history), "%d", i)
	}
}
