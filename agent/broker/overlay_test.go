package broker

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/internal/budget"
	"github.com/picloud/picloud/internal/value"
)

// shelf is a store in memory, as the real one behaves.
type shelf struct {
	items map[string]picloud.KVEntry
	last  int64
}

func (s *shelf) Get(_ context.Context, key string, _ Room) (picloud.KVEntry, bool, error) {
	e, ok := s.items[key]
	return e, ok, nil
}

func (s *shelf) List(_ context.Context, prefix string, limit int, cursor string, _ Room) (items []picloud.KVEntry, next string, err error) {
	after, _ := base64.RawURLEncoding.DecodeString(cursor)
	for _, key := range slices.Sorted(maps.Keys(s.items)) {
		if !strings.HasPrefix(key, prefix) || key <= string(after) {
			continue
		}
		if len(items) == limit {
			return items, base64.RawURLEncoding.EncodeToString([]byte(items[limit-1].Key)), nil
		}
		items = append(items, s.items[key])
	}
	return items, "", nil
}

func (s *shelf) Set(_ context.Context, key string, v []byte, _ time.Duration) (int64, error) {
	s.last++
	s.items[key] = picloud.KVEntry{Key: key, Value: v, Version: s.last}
	return s.last, nil
}

func (s *shelf) CompareAndSet(ctx context.Context, key string, version int64, v []byte, ttl time.Duration) (int64, error) {
	if s.items[key].Version != version {
		return 0, nil
	}
	return s.Set(ctx, key, v, ttl)
}

func (s *shelf) Increment(ctx context.Context, key string, by int64, ttl time.Duration) (int64, error) {
	n := int64(0)
	if e, ok := s.items[key]; ok {
		if n, ok = value.Item(e.Value).Int(); !ok {
			return 0, picloud.ErrNotANumber
		}
	}
	_, err := s.Set(ctx, key, value.AppendInt(nil, n+by), ttl)
	return n + by, err
}

func (s *shelf) Delete(_ context.Context, key string, version int64) (bool, error) {
	e, ok := s.items[key]
	if !ok || version != 0 && version != e.Version {
		return false, nil
	}
	delete(s.items, key)
	return true, nil
}

// over returns an overlay.
func over(under KeyReader, memory *budget.Budget) *overlay {
	return &overlay{under: under, memory: memory, entries: map[string]*written{}}
}

// TestAnOverlayIsLikeTheStore does the same to a store and to an overlay over a copy of
// it. All answers but versions are the same, and the copy stays as it was.
func TestAnOverlayIsLikeTheStore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		key := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%c%d", 'a'+rapid.IntRange(0, 1).Draw(t, "letter"), rapid.IntRange(0, 9).Draw(t, "number"))
		})
		start := map[string]picloud.KVEntry{}
		for i, k := range rapid.SliceOf(key).Draw(t, "start") {
			start[k] = picloud.KVEntry{Key: k, Value: value.AppendInt(nil, int64(i)), Version: int64(i + 1)}
		}
		under := &shelf{maps.Clone(start), 1000}
		model := &shelf{maps.Clone(start), 1000}
		memory := budget.New(1 << 20)
		o := over(under, memory)
		plain := func(items []picloud.KVEntry) (out []string) {
			for _, e := range items {
				out = append(out, e.Key+"="+string(e.Value))
			}
			return out
		}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			k := key.Draw(t, "key")
			var got, want any
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0:
				a, foundA, _ := o.Get(ctx, k, nil)
				b, foundB, _ := model.Get(ctx, k, nil)
				got, want = fmt.Sprint(plain([]picloud.KVEntry{a}), foundA), fmt.Sprint(plain([]picloud.KVEntry{b}), foundB)
			case 1:
				v := value.AppendText(nil, k)
				_, got = o.Set(ctx, k, v, 0)
				_, want = model.Set(ctx, k, v, 0)
			case 2:
				a, errA := o.Increment(ctx, k, 3, 0)
				b, errB := model.Increment(ctx, k, 3, 0)
				got, want = fmt.Sprint(a, errA), fmt.Sprint(b, errB)
			case 3:
				got, _ = o.Delete(ctx, k, 0)
				want, _ = model.Delete(ctx, k, 0)
			case 4:
				a, _, _ := o.Get(ctx, k, nil)
				b, _, _ := model.Get(ctx, k, nil)
				off := rapid.Int64Range(0, 1).Draw(t, "off")
				va, errA := o.CompareAndSet(ctx, k, a.Version+off, value.AppendInt(nil, 7), 0)
				vb, errB := model.CompareAndSet(ctx, k, b.Version+off, value.AppendInt(nil, 7), 0)
				got, want = fmt.Sprint(va > 0, errA), fmt.Sprint(vb > 0, errB)
			case 5:
				prefix := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "prefix")
				limit := rapid.IntRange(1, 5).Draw(t, "limit")
				var all []picloud.KVEntry
				for cursor := ""; ; {
					items, next, err := o.List(ctx, prefix, limit, cursor, nil)
					require.NoError(t, err)
					require.LessOrEqual(t, len(items), limit)
					all = append(all, items...)
					if cursor = next; next == "" {
						break
					}
				}
				items, _, _ := model.List(ctx, prefix, 1000, "", nil)
				got, want = plain(all), plain(items)
			}
			require.Equal(t, want, got)
		}
		require.Equal(t, start, under.items)
		changed := map[string]string{}
		for _, w := range o.writes() {
			changed[w.Key] = w.Op
		}
		for _, k := range slices.Sorted(maps.Keys(model.items)) {
			if model.items[k].Version > 1000 {
				require.Equal(t, picloud.WriteSet, changed[k])
				delete(changed, k)
			}
		}
		for k, op := range changed {
			require.Equal(t, picloud.WriteDelete, op)
			require.Contains(t, start, k)
		}
		o.end()
		require.Zero(t, memory.Used())
	})
}

// TestAnOverlayKnowsTheEnd: a full page is the last one when the call deleted the rest.
func TestAnOverlayKnowsTheEnd(t *testing.T) {
	o := over(&shelf{map[string]picloud.KVEntry{"a": {Key: "a", Version: 1}, "c": {Key: "c", Version: 2}, "d": {Key: "d", Version: 3}}, 1000}, budget.New(1<<20))
	defer o.end()
	for _, key := range []string{"c", "d"} {
		deleted, err := o.Delete(t.Context(), key, 0)
		require.NoError(t, err)
		require.True(t, deleted)
	}
	items, next, err := o.List(t.Context(), "", 1, "", nil)
	require.NoError(t, err)
	require.Len(t, items, 1)
	require.Empty(t, next)
}

func TestAnOverlayIsBounded(t *testing.T) {
	memory := budget.New(5 << 20)
	o := over(&shelf{items: map[string]picloud.KVEntry{"n": {Key: "n", Value: value.AppendInt(nil, math.MaxInt64), Version: 1}}}, memory)
	ctx := t.Context()
	_, err := o.Increment(ctx, "n", 1, 0)
	require.ErrorIs(t, err, picloud.ErrOverflow)
	large := make([]byte, 256<<10)
	kept := 0
	for ; err == nil || kept == 0; kept++ {
		_, err = o.Set(ctx, fmt.Sprint("k", kept), large, 0)
	}
	require.Equal(t, hostcall.CodeKVQuota, code(t, err))
	require.Equal(t, 16, kept)
	_, err = o.Delete(ctx, "k0", 0)
	require.NoError(t, err)
	_, err = o.Set(ctx, "k1", large, 0)
	require.NoError(t, err, "it had as much before")
	require.True(t, memory.Take(memory.Limit()-memory.Used()))
	_, err = o.Set(ctx, "small", []byte{1}, 0)
	require.Equal(t, hostcall.CodeBusy, code(t, err))
	_, _, err = o.List(ctx, "", 10, "x", nil)
	require.Equal(t, hostcall.CodeInvalidArguments, code(t, err))
}

func TestAnOverlayForgetsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := over(&shelf{items: map[string]picloud.KVEntry{"k": {Key: "k", Value: []byte{1}, Version: 1}}}, budget.New(1<<20))
		_, err := o.Set(t.Context(), "k", []byte{2}, time.Minute)
		require.NoError(t, err)
		<-time.After(time.Minute)
		_, found, err := o.Get(t.Context(), "k", nil)
		require.NoError(t, err)
		require.False(t, found)
		items, _, err := o.List(t.Context(), "", 10, "", nil)
		require.NoError(t, err)
		require.Empty(t, items)
	})
}

// TestATrialLeavesNothing: neither a key nor a request, and says what it would have done.
func TestATrialLeavesNothing(t *testing.T) {
	b, _ := newBroker(t, emptyVault(t))
	store := &shelf{items: map[string]picloud.KVEntry{"old": {Key: "old", Value: value.AppendInt(nil, 1), Version: 1}}}
	b.UseKeys(func(string, picloud.KVQuota) Store { return store })
	for net, wanted := range map[bool]string{false: hostcall.CodeNotSent, true: "http_connect"} {
		g, trial := b.Trial("f", picloud.Settings{Egress: []string{"127.0.0.1:9"}}, picloud.AppConfig{App: "shop"}, net)
		_, err := ask(t, b, g, hostcall.KVSet, hostcall.Set{Key: "new", Value: value.AppendText(nil, "v")})
		require.NoError(t, err)
		_, err = ask(t, b, g, hostcall.KVDelete, hostcall.Delete{Key: "old"})
		require.NoError(t, err)
		_, err = ask(t, b, g, hostcall.HTTPFetch, hostcall.Fetch{URL: "http://127.0.0.1:9/x", Method: "POST"})
		require.Equal(t, wanted, code(t, err))
		_, err = ask(t, b, g, hostcall.HTTPFetch, hostcall.Fetch{URL: "http://elsewhere.example/"})
		require.Equal(t, "egress_denied", code(t, err), "as it would be")
		require.Equal(t, picloud.Effects{
			Writes:   []picloud.KeyWrite{{Key: "new", Op: picloud.WriteSet, Size: 2}, {Key: "old", Op: picloud.WriteDelete}},
			Requests: []picloud.OutboundRequest{{Method: "POST", URL: "http://127.0.0.1:9/x", Sent: net}},
		}, trial.End())
		require.Len(t, store.items, 1)
		require.Contains(t, store.items, "old")
	}
}
