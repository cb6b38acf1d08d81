package keys_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/keys"
)

// The test server does not sync: on a card each write waits for one sync more.

func benchmarkKV(b *testing.B, op func(b *testing.B, s *keys.Store, n int) error) {
	b.Helper()
	_, s, _ := shop(b, picloud.KVQuota{Keys: 10_000_000, Bytes: 16 << 30})
	for n := range 1000 {
		set(b, s, "k"+strconv.Itoa(n), "a value of thirty bytes or more")
	}
	set(b, s, "n", 0)
	run := func(b *testing.B, n int) { require.NoError(b, op(b, s, n)) }
	b.Run("one", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			run(b, n)
		}
	})
	b.Run("four", func(b *testing.B) {
		var at atomic.Int64
		b.SetParallelism(2)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				run(b, int(at.Add(1)))
			}
		})
	})
}

func BenchmarkKVGet(b *testing.B) {
	benchmarkKV(b, func(b *testing.B, s *keys.Store, n int) error {
		_, _, err := s.Get(b.Context(), "k"+strconv.Itoa(n%1000), nil)
		return err
	})
}

func BenchmarkKVSet(b *testing.B) {
	value := encode(b, "b value of thirty bytes or more")
	benchmarkKV(b, func(b *testing.B, s *keys.Store, n int) error {
		_, err := s.Set(b.Context(), "k"+strconv.Itoa(n%1000), value, 0)
		return err
	})
}

func BenchmarkKVSetOfANewKey(b *testing.B) {
	var made atomic.Int64
	value := encode(b, "b value of thirty bytes or more")
	benchmarkKV(b, func(b *testing.B, s *keys.Store, _ int) error {
		_, err := s.Set(b.Context(), "new"+strconv.FormatInt(made.Add(1), 10), value, 0)
		return err
	})
}

func BenchmarkKVIncrement(b *testing.B) {
	benchmarkKV(b, func(b *testing.B, s *keys.Store, _ int) error {
		_, err := s.Increment(b.Context(), "n", 1, 0)
		return err
	})
}

func BenchmarkKVListOf100(b *testing.B) {
	benchmarkKV(b, func(b *testing.B, s *keys.Store, _ int) error {
		_, _, err := s.List(b.Context(), "k1", 100, "", nil)
		return err
	})
}
