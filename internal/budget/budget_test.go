package budget

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestTheBudgetHoldsUnderLoad(t *testing.T) {
	b := New(100)
	var wg sync.WaitGroup
	var most atomic.Int64
	for range 16 {
		wg.Go(func() {
			for range 1000 {
				if b.Take(7) {
					if held := most.Add(7); held > 100 {
						t.Error("more is taken than there is")
					}
					most.Add(-7)
					b.Give(7)
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, b.Used())
	require.Equal(t, int64(100), b.Limit())
	require.True(t, b.Take(100))
	require.False(t, b.Take(1), "all of it is taken")
	b.Give(100)
	require.True(t, b.Take(1))
}

// TestWhatDoesNotFitDisturbsNobody: requests that are far too large, of others and of the
// same holder, never make one fail that fits.
func TestWhatDoesNotFitDisturbsNobody(t *testing.T) {
	for name, parts := range map[string][2]string{"one holder": {"a", "a"}, "two holders": {"a", "b"}} {
		t.Run(name, func(t *testing.T) {
			b := New(800)
			large, small := b.Part(parts[0]), b.Part(parts[1])
			done := make(chan struct{})
			var wg sync.WaitGroup
			for _, from := range []*Budget{large, b} {
				wg.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
							if from.Take(801) {
								t.Error("it does not fit")
							}
						}
					}
				})
			}
			for range 200_000 {
				if !small.Take(50) {
					t.Error("it fits")
					break
				}
				small.Give(50)
			}
			close(done)
			wg.Wait()
			require.Zero(t, b.Used())
		})
	}
}

// TestBudgetAgainstAModel: each request is granted exactly when the rule says so.
func TestBudgetAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.Int64Range(1, 100).Draw(rt, "limit")
		b := New(limit)
		held, used := map[string]int64{}, int64(0)
		for range rapid.IntRange(0, 60).Draw(rt, "steps") {
			who := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(rt, "who") // "": the node itself
			n := rapid.Int64Range(0, limit+1).Draw(rt, "n")
			of := b
			if who != "" {
				of = b.Part(who)
			}
			if rapid.Bool().Draw(rt, "give") {
				n = min(n, held[who])
				of.Give(n)
				held[who] -= n
				used -= n
			} else {
				fits := n == 0 || used+n <= limit && (who == "" || held[who]+n <= limit/8 || used+n <= limit-limit/4)
				require.Equal(rt, fits, of.Take(n))
				if fits {
					held[who] += n
					used += n
				}
			}
			require.Equal(rt, used, b.Used())
			if who != "" {
				require.Equal(rt, held[who], of.Used())
			}
		}
	})
}

// TestPartsLeaveRoom: one holder, however greedy, leaves the last quarter to others.
func TestPartsLeaveRoom(t *testing.T) {
	b := New(800)
	greedy, other, third := b.Part("greedy"), b.Part("other"), b.Part("third")
	require.Same(t, greedy, b.Part("greedy"))
	for greedy.Take(10) {
	}
	require.Equal(t, int64(600), b.Used())
	require.True(t, other.Take(100))
	require.False(t, other.Take(1), "more than an eighth, and only the kept quarter is left")
	require.True(t, third.Take(100))
	require.False(t, b.Part("late").Take(1), "all of it is taken")
	require.Equal(t, []int64{600, 100, 800}, []int64{greedy.Used(), other.Used(), b.Used()}, "a refusal takes nothing")
	greedy.Give(600)
	other.Give(100)
	third.Give(100)
	require.Zero(t, b.Used())
	for i := range 3 * maxParts {
		b.Part(string(rune(i)))
	}
	require.LessOrEqual(t, len(b.parts), maxParts)
	require.Nil(t, (*Budget)(nil).Part("x"))
}

func TestShare(t *testing.T) {
	b := New(100)
	s := Share{Of: b, Free: 10}
	require.True(t, s.Take(4))
	require.True(t, s.Take(6))
	require.Zero(t, b.Used(), "a little is free")
	require.True(t, s.Take(60))
	require.Equal(t, int64(60), b.Used())
	other := Share{Of: b, Free: 10}
	require.False(t, other.Take(51))
	require.Equal(t, int64(60), b.Used(), "a refusal takes nothing")
	require.True(t, other.Take(50))
	require.Equal(t, int64(100), b.Used())
	s.GiveAll()
	s.GiveAll()
	require.Equal(t, int64(40), b.Used())
	require.True(t, (*Share)(nil).Take(1<<40))
	require.True(t, (*Budget)(nil).Take(1<<40))
	(*Budget)(nil).Give(1)
}
