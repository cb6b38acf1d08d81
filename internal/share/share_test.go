package share

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestNobodyShutsOutTheRest(t *testing.T) {
	p := New(Options{Total: 16, Each: []int{4, 8}, Kept: 4})
	var greedy []func()
	for range 100 {
		if give, ok := p.Take("greedy", "one"); ok {
			greedy = append(greedy, give)
		}
	}
	require.Len(t, greedy, 4, "one user has a share")
	apps := 0
	for i := range 100 { // many users of one app
		if _, ok := p.Take(fmt.Sprint("u", i), "one"); ok {
			apps++
		}
	}
	require.Equal(t, 4, apps, "and so has one app")
	for range 4 {
		_, ok := p.Take("second", "two")
		require.True(t, ok)
	}
	_, ok := p.Take("u0", "three")
	require.False(t, ok, "the last places are for those who have none")
	for i := range 4 {
		_, ok := p.Take(fmt.Sprint("new", i), "three")
		require.True(t, ok)
	}
	_, ok = p.Take("late", "three")
	require.False(t, ok)
	greedy[0]()
	greedy[0]() // a place is given back once
	_, ok = p.Take("late", "three")
	require.True(t, ok)
	_, ok = p.Take("later", "three")
	require.False(t, ok)
}

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Total: 2, Each: []int{2}, Kept: 1, Waiting: 3})
		first, err := p.Wait(t.Context(), "a")
		require.NoError(t, err)
		order := make(chan string, 8)
		wait := func(ctx context.Context, holder string) {
			go func() {
				give, err := p.Wait(ctx, holder)
				if err != nil {
					order <- holder + " " + err.Error()
					return
				}
				order <- holder
				give()
			}()
			synctest.Wait()
		}
		gone, leave := context.WithCancelCause(t.Context())
		wait(gone, "a")
		wait(t.Context(), "a")
		wait(t.Context(), "a")
		_, err = p.Wait(t.Context(), "a")
		require.ErrorIs(t, err, ErrFull, "a queue of one's own is bounded")
		require.Empty(t, order, "the last place is kept")
		wait(t.Context(), "b")
		require.Equal(t, "b", <-order, "who has none does not wait behind those")
		leave(errors.New("left"))
		require.Equal(t, "a left", <-order)
		first()
		require.Equal(t, "a", <-order)
		require.Equal(t, "a", <-order)
		synctest.Wait()
		require.Zero(t, p.taken)
		require.Empty(t, p.held[0])
		require.Empty(t, p.waiting)
	})
}

// TestTheQueueIsBounded for all together, and leaves room for those of whom nobody waits.
func TestTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{Total: 1, Each: []int{1}, Waiting: 5, Queue: 8})
		give, err := p.Wait(t.Context(), "first")
		require.NoError(t, err)
		ctx, leave := context.WithCancel(t.Context())
		full := make(chan string, 100)
		for _, holder := range []string{"a", "b", "c", "d", "e"} {
			for range 5 {
				go func() {
					if _, err := p.Wait(ctx, holder); errors.Is(err, ErrFull) {
						full <- holder
					}
				}()
				synctest.Wait()
			}
		}
		require.Equal(t, map[string]int{"a": 5, "b": 1, "c": 1, "d": 1}, p.waiting, "the last two places are for those of whom nobody waits")
		require.Len(t, full, 17)
		leave()
		synctest.Wait()
		require.Empty(t, p.waiting)
		require.Zero(t, p.queue.Len())
		give()
	})
}

// TestPlacesAgainstAModel: whatever happens, no bound is exceeded and no place is lost.
func TestPlacesAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		total, each, kept := rapid.IntRange(1, 6).Draw(rt, "total"), rapid.IntRange(1, 4).Draw(rt, "each"), rapid.IntRange(0, 3).Draw(rt, "kept")
		p := New(Options{Total: total, Each: []int{each}, Kept: kept})
		held := map[string][]func(){}
		n := 0
		for range rapid.IntRange(0, 60).Draw(rt, "steps") {
			who := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "who")
			if mine := held[who]; len(mine) > 0 && rapid.Bool().Draw(rt, "give") {
				mine[0]()
				held[who] = mine[1:]
				n--
				continue
			}
			give, ok := p.Take(who)
			require.Equal(rt, n < total && len(held[who]) < each && (total-n > kept || len(held[who]) == 0), ok)
			if ok {
				held[who] = append(held[who], give)
				n++
			}
		}
		require.Equal(rt, n, p.taken)
	})
}
