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
				if !q.Take(nil, n, time.Minute) {
					t.Error("it has patience")
					return
				}
				if now := held.Add(n); now > 100 {
					t.Error("more is taken than there is")
				}
				held.Add(-n)
				q.Give(n)
			}
		})
	}
	wg.Wait()
	require.Zero(t, q.used)
	require.Zero(t, q.waiting.Len())
}

func TestQueueHasAnOrderAndAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(10, 2)
		require.True(t, q.Take(nil, 50, 0), "what is too large has its turn alone")
		var first, second bool
		begun := time.Now()
		go func() { first = q.Take(nil, 10, time.Second) }()
		synctest.Wait()
		go func() { second = q.Take(nil, 5, time.Minute) }()
		synctest.Wait()
		require.False(t, q.Take(nil, 1, time.Minute), "the queue is full")
		require.Equal(t, begun, time.Now())
		<-time.After(time.Second)
		synctest.Wait()
		require.False(t, first, "it waited long enough")
		q.Give(50)
		synctest.Wait()
		require.True(t, second)
		done := make(chan struct{})
		close(done)
		require.False(t, q.Take(done, 6, time.Minute), "nobody waits for it")
		require.True(t, q.Take(nil, 5, 0))
		q.Give(10)
		require.Zero(t, q.used)
	})
}
