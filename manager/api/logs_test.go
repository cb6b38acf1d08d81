package api

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

const helloLogs = "/api/v1/apps/shop/functions/hello/logs"

func record(second int, message string) picloud.LogRecord {
	return picloud.LogRecord{
		Time: time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC), Level: "info", Message: message, Function: "hello", Version: 1, Invocation: "i1",
	}
}

// newLogShop is a shop whose followed logs beat fast.
func newLogShop(t *testing.T) shop {
	n := newNode(t, func(o *Options) { o.Heartbeat = 20 * time.Millisecond })
	n.agent.followed = make(chan struct{}, 16)
	n.app("shop")
	n.deploy("/api/v1/apps/shop/functions/hello", hello)
	return shop{node: n, viewer: n.member("shop", "vera", picloud.RoleViewer)}
}

// followed is a log that is being followed through the client.
type followed struct {
	records chan picloud.LogRecord
	ended   chan error // gets the error of the end, nil for none
	leave   context.CancelFunc
}

func (s shop) follow(t *testing.T, token string) followed {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c, err := client.New(s.url, token)
	require.NoError(t, err)
	yes := true
	f := followed{make(chan picloud.LogRecord, 64), make(chan error, 1), cancel}
	resp, err := c.GetLogs(ctx, "shop", "hello", &client.GetLogsParams{Follow: &yes})
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	go func() {
		for r, err := range client.Logs(resp, nil) {
			if err != nil {
				f.ended <- err
				return
			}
			f.records <- r
		}
		f.ended <- nil
	}()
	return f
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

func TestTail(t *testing.T) {
	s := newLogShop(t)
	s.agent.records = []picloud.LogRecord{record(1, "one"), record(2, "two"), record(3, "three")}
	r := s.do("GET", helloLogs+"?tail=2", s.viewer, "")
	require.Equal(t, 200, r.status)
	var l client.LogList
	r.json(t, &l)
	require.Equal(t, s.agent.records[1:], l.Items)
	r = s.do("GET", helloLogs+"?since=2026-01-02T03:04:03Z", s.viewer, "")
	r.json(t, &l)
	require.Equal(t, s.agent.records[2:], l.Items)
}

func TestFollowLosesAndRepeatsNothing(t *testing.T) {
	s := newLogShop(t)
	s.agent.records = []picloud.LogRecord{record(1, "one"), record(2, "two")}
	f := s.follow(t, s.viewer)
	receive(t, s.agent.followed)
	s.agent.mu.Lock()
	feed := s.agent.feeds[0]
	s.agent.mu.Unlock()
	require.Equal(t, "one", receive(t, f.records).Message)
	require.Equal(t, "two", receive(t, f.records).Message)
	feed <- record(2, "three")
	require.Equal(t, "three", receive(t, f.records).Message)

	close(feed) // the node drains
	err := receive(t, f.ended)
	require.Equal(t, picloud.CodeDraining, picloud.CodeOf(err))
	require.True(t, client.Ended(err))
}

func TestStreamSkipsWhatTheBacklogHad(t *testing.T) {
	feed := make(chan picloud.LogRecord, 8)
	feed <- record(2, "two") // logged between the start of the feed and the read of the backlog
	feed <- record(3, "three")
	close(feed)
	w := &flushed{header: http.Header{}}
	st := &stream{
		ctx: t.Context(), feed: feed, backlog: []picloud.LogRecord{record(1, "one"), record(2, "two")},
		heartbeat: time.Hour, allowed: func() error { return nil },
	}
	require.NoError(t, st.send(w))
	var got []string
	for r, err := range client.Logs(&http.Response{StatusCode: 200, Body: w}, nil) {
		if err != nil {
			break
		}
		got = append(got, r.Message)
	}
	require.Equal(t, []string{"one", "two", "three"}, got)
}

func TestFollowEndsWithTheRightToRead(t *testing.T) {
	s := newLogShop(t)
	removed, rotated := s.follow(t, s.viewer), s.follow(t, s.admin)
	require.Equal(t, 204, s.do("DELETE", "/api/v1/apps/shop/members/vera", s.admin, "").status)
	require.Equal(t, picloud.CodeNotFound, picloud.CodeOf(receive(t, removed.ended)))
	require.Equal(t, 201, s.do("POST", "/api/v1/users/admin/token", s.admin, "").status)
	require.Equal(t, picloud.CodeUnauthenticated, picloud.CodeOf(receive(t, rotated.ended)))
}

func TestFollowersThatLeaveAreForgotten(t *testing.T) {
	s := newLogShop(t)
	f := s.follow(t, s.viewer)
	f.leave()
	require.Error(t, receive(t, f.ended)) // goleak in TestMain sees that the handler ended too
}

// flushed is a ResponseWriter that can be read.
type flushed struct {
	buffer
	header http.Header
}

func (f *flushed) Header() http.Header { return f.header }
func (f *flushed) WriteHeader(int)     {}
func (f *flushed) Flush()              {}
func (f *flushed) Close() error        { return nil }

func (f *flushed) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.b.Read(p)
}
