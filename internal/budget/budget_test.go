package budget

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
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
