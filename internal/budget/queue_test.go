package budget

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQueueUnderLoad(t *testing.T) {
	q := NewQueue(100, 64)
	var held atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for range 200 {
				n := int64(i + 1)
				if !q.Take(nil, string(rune('a'+i%4)), n, time.Minute) {
					t.Error("it has patience")
					return
				}
				if now := held.Add(n); now > 100 {
					t.Error("more is taken than there is")
				}
				held.Add(-n)
				q.Give(string(rune('a'+i%4)), n)
			}
		})
	}
	wg.Wait()
	require.Zero(t, q.used)
	require.Zero(t, q.waiting.Len())
	require.Empty(t, q.held)
	require.Empty(t, q.queued)
}

// TestQueueLeavesRoom: whoever takes all that there is, and waits for more, leaves a
// quarter of the bytes and of the places to others.
func TestQueueLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(800, 8)
		var got atomic.Int32
		for range 20 {
			go func() {
				if q.Take(nil, "greedy", 100, time.Hour) {
					got.Add(1)
				}
			}()
		}
		synctest.Wait()
		require.EqualValues(t, 600, q.used)
		require.Equal(t, 6, q.waiting.Len())
		require.True(t, q.Take(nil, "modest", 100, time.Second), "it passes those that wait for their own share")
		require.EqualValues(t, 700, q.used)
		for range 12 {
			q.Give("greedy", 100)
			synctest.Wait()
		}
		require.EqualValues(t, 12, got.Load(), "those that waited had their turn")
		q.Give("modest", 100)
		require.Zero(t, q.used)
		require.Empty(t, q.held)
	})
}

func TestQueueHasAnOrderAndAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(100, 2)
		require.True(t, q.Take(nil, "", 500, 0), "what is too large has its turn alone")
		var first, second bool
		begun := time.Now()
		go func() { first = q.Take(nil, "", 100, time.Second) }()
		synctest.Wait()
		go func() { second = q.Take(nil, "", 50, time.Minute) }()
		synctest.Wait()
		require.False(t, q.Take(nil, "", 1, time.Minute), "the queue is full")
		require.Equal(t, begun, time.Now())
		<-time.After(time.Second)
		synctest.Wait()
		require.False(t, first, "it waited long enough")
		q.Give("", 500)
		synctest.Wait()
		require.True(t, second)
		done := make(chan struct{})
		close(done)
		require.False(t, q.Take(done, "", 60, time.Minute), "nobody waits for it")
		require.True(t, q.Take(nil, "", 20, 0))
		q.Give("", 70)
		require.Zero(t, q.used)
	})
}
