package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// otherNode is another node whose stream the test writes.
type otherNode struct {
	alive, refuses atomic.Bool
	stream         atomic.Pointer[io.PipeWriter]
}

func (n *otherNode) Others() []Other { return []Other{{ID: "2", Name: "pi-2", Alive: n.alive.Load()}} }

func (n *otherNode) Get(ctx context.Context, _, _, _ string) (*http.Response, error) {
	if n.refuses.Load() {
		return nil, errors.New("nobody listens")
	}
	r, w := io.Pipe()
	n.stream.Store(w)
	context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	return &http.Response{StatusCode: http.StatusOK, Body: r}, nil
}

func (n *otherNode) says(text string) {
	fmt.Fprintf(n.stream.Load(), "event: log\ndata: {\"time\":%q,\"message\":%q}\n\n", time.Now().Format(time.RFC3339Nano), text)
}

// TestANodeThatFallsSilentIsNamed: one that dies in the middle of a stream at once, one that
// is frozen as soon as the others hold it for dead; and both when they are back.
func TestANodeThatFallsSilentIsNamed(t *testing.T) {
	const gone, back = "pi-2 does not answer: what it logs is missing from here on, and comes when it does", "pi-2 answers again: what it logged meanwhile follows"
	synctest.Test(t, func(t *testing.T) {
		other := &otherNode{}
		other.alive.Store(true)
		g := &gathering{
			a: runs{RunStores: RunStores{Others: other}, node: "pi-1"}, wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
			last: map[string]time.Time{}, reading: map[string]bool{}, opening: map[string]bool{},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			g.readOther(ctx, other.Others()[0], picloud.LogQuery{App: "shop"}, picloud.LogPosition{})
		}()
		// next is what the stream says next, and how long that took.
		next := func() (string, time.Duration) {
			begun := time.Now()
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			lines, err := g.next(ctx)
			require.NoError(t, err)
			require.Len(t, lines, 1)
			var record picloud.LogRecord
			require.NoError(t, json.Unmarshal(lines[0].JSON, &record))
			require.Equal(t, "pi-2", record.Node)
			return record.Message, time.Since(begun)
		}
		says := func(want string, within time.Duration) {
			text, took := next()
			require.Equal(t, want, text)
			require.LessOrEqual(t, took, within, want)
		}
		synctest.Wait()
		other.says("one")
		says("one", gatherHold)

		other.refuses.Store(true)
		other.stream.Load().Close() // the kernel closes the connections of a process that was killed
		says(gone, gatherHold)
		<-time.After(time.Minute)
		other.refuses.Store(false)
		says(back, lastOtherRetry+gatherHold)
		other.says("two")
		says("two", gatherHold)

		<-time.After(30 * time.Second) // quiet is not dead
		other.says("three")
		says("three", gatherHold)
		other.alive.Store(false) // the gossip says so; a frozen node closes nothing
		other.refuses.Store(true)
		other.says("four") // it was wrong: it is quick to say so
		says("four", gatherHold)
		says(gone, DefaultHeartbeat+newOthers+gatherHold)
		other.alive.Store(true)
		other.refuses.Store(false)
		says(back, lastOtherRetry+gatherHold)

		cancel()
		<-done
	})
}
