package api

import (
	"context"
	"net/http"
	"os"
	"strings"
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

// TestAStreamShowsCallsAfterTheirRecords, with the position of each record.
func TestAStreamShowsCallsAfterTheirRecords(t *testing.T) {
	s := newLogShop(t)
	one, two := record(1, "one"), record(3, "two")
	one.Seq, two.Seq = 7, 8
	s.agent.records = []picloud.LogRecord{one, two}
	call := func(id string, second, status int) picloud.Invocation {
		return picloud.Invocation{ID: id, App: "shop", Function: "hello", Method: "GET", Path: "/", Status: status, Started: record(second, "").Time}
	}
	s.agent.runs = []picloud.Invocation{call("late", 4, 500), call("between", 2, 200)}
	s.agent.ended = make(chan picloud.Invocation, 1)
	s.agent.ended <- call("new", 5, 404)
	until := s.events(t, "/api/v1/apps/shop/logs?follow=true&calls=true")
	until("id: " + picloud.LogPosition{Seq: 7, Time: one.Time}.String())
	until(`"message":"one"`)
	until("event: call")
	until(`"id":"between"`)
	until(`"message":"two"`)
	until(`"id":"late"`)
	until("3 calls are missing here")
	until(`"id":"new"`)

	// Whoever takes up again gets the calls since then, whatever tail says.
	until = s.events(t, "/api/v1/apps/shop/logs?follow=true&calls=true&tail=0&after="+picloud.LogPosition{Seq: 8, Time: two.Time}.String())
	until(`"id":"late"`)
}

// TestAStreamMissesNoCall that ends right before the stream follows calls, and shows no
// call twice.
func TestAStreamMissesNoCall(t *testing.T) {
	s := newLogShop(t)
	s.agent.onFollow = func() {
		s.agent.runs = []picloud.Invocation{{ID: "meanwhile", App: "shop", Function: "hello", Status: 200, Started: record(2, "").Time}}
	}
	s.events(t, "/api/v1/apps/shop/logs?follow=true&calls=true")(`"id":"meanwhile"`)

	sent := stream{known: map[string]bool{"old": true}, began: func() {}, calls: func() ([]picloud.Invocation, int64) {
		return []picloud.Invocation{{ID: "old"}, {ID: "new"}}, 0
	}}
	ripe := 0
	require.NoError(t, sent.look(&ripe))
	require.Len(t, sent.held, 1)
	require.Equal(t, "new", sent.held[0].ID)
	require.Nil(t, sent.known, "what comes later is new")
}

// TestPlainLogsAreCallsOfTheirUser: only a followed log has no deadline and no place
// among the calls of its user.
func TestPlainLogsAreCallsOfTheirUser(t *testing.T) {
	ops := operations(Options{})
	yes, no := true, false
	for _, lasts := range []*bool{nil, &no, &yes} {
		of := map[string]any{
			"/api/v1/apps/{app}/logs":                      &getAppLogsParams{GetAppLogsParams: client.GetAppLogsParams{Follow: lasts}},
			"/api/v1/apps/{app}/functions/{function}/logs": &getLogsParams{GetLogsParams: client.GetLogsParams{Follow: lasts}},
		}
		for _, op := range ops {
			if params := of[op.path]; params != nil {
				require.Equal(t, lasts == &yes, op.lasts(params), op.path)
			} else {
				require.Nil(t, op.lasts, op.path)
			}
		}
	}
}

func TestLogsOfAnApp(t *testing.T) {
	s := newLogShop(t)
	s.deploy("/api/v1/apps/shop/functions/cart", hello)
	s.agent.records = []picloud.LogRecord{record(1, "one")}
	s.agent.runs = []picloud.Invocation{
		{ID: "aaaa3", App: "shop", Function: "cart", Status: 500, Started: record(9, "").Time},
		{ID: "aaaa2", App: "shop", Function: "hello", Status: 404},
		{ID: "aaaa1", App: "shop", Function: "hello", Status: 200},
	}
	calls := func(query string) (out []string) {
		r := s.do("GET", "/api/v1/apps/shop/logs?calls=true"+query, s.viewer, "")
		require.Equal(t, 200, r.status, r.body)
		var l client.LogList
		r.json(t, &l)
		require.Len(t, l.Items, 1)
		for _, i := range l.Calls {
			out = append(out, i.ID)
		}
		return out
	}
	require.Equal(t, []string{"aaaa2", "aaaa1", "aaaa3"}, calls(""), "in the order in which they ended")
	require.Equal(t, []string{"aaaa3"}, calls("&level=error&functions=cart,hello"))
	require.Equal(t, picloud.LogQuery{App: "shop", Functions: []string{"cart", "hello"}, Level: "error", Limit: 100}, s.agent.query)
	require.Equal(t, []string{"aaaa2", "aaaa3"}, calls("&level=warn"))
	require.Equal(t, []string{"aaaa1"}, calls("&call=aaa1&tail=5"))
	require.NotContains(t, s.do("GET", "/api/v1/apps/shop/logs", s.viewer, "").body, "calls")

	for query, field := range map[string]string{
		"level=loud": "level", "call=abc": "call", "after=17": "after", "since=soon": "since", "tail=1001": "tail",
		"functions=" + strings.Repeat("f,", 50) + "f": "functions",
	} {
		r := s.do("GET", "/api/v1/apps/shop/logs?"+query, s.viewer, "")
		require.Equal(t, 400, r.status, query)
		require.Equal(t, field, r.problem(t).Errors[0].Field, query)
	}
	require.Equal(t, 404, s.do("GET", "/api/v1/apps/shop/logs?functions=hello,none", s.viewer, "").status)
	require.Equal(t, 404, s.do("GET", "/api/v1/apps/shop/logs", s.user("stan"), "").status)
}

// TestFollowersAreSharedOut: a user who opens every stream that there is leaves room for
// the others.
func TestFollowersAreSharedOut(t *testing.T) {
	s := newLogShop(t)
	s.agent.followed = nil
	open := func(token, app string) int {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		req, err := http.NewRequestWithContext(ctx, "GET", s.url+"/api/v1/apps/"+app+"/logs?follow=true", nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		t.Cleanup(func() { resp.Body.Close() })
		return resp.StatusCode
	}
	for i := range 12 {
		require.Equal(t, map[bool]int{true: 200, false: 429}[i < 8], open(s.viewer, "shop"))
	}
	require.Equal(t, 200, open(s.admin, "shop"), "another user of the app")
	for _, name := range []string{"ann", "ben", "cat"} {
		token := s.member("shop", name, picloud.RoleViewer)
		for range 8 {
			open(token, "shop")
		}
	}
	require.Equal(t, 429, open(s.admin, "shop"), "the app has its share")
	s.app("blog")
	require.Equal(t, 200, open(s.admin, "blog"), "another app has its own")
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

// stuck is a reader that takes nothing.
type stuck struct {
	flushed
	deadline time.Time
}

func (s *stuck) SetWriteDeadline(at time.Time) error {
	if !at.IsZero() {
		s.deadline = at
	}
	return nil
}

func (s *stuck) Write([]byte) (int, error) {
	if s.deadline.IsZero() {
		panic("a write without a deadline")
	}
	return 0, os.ErrDeadlineExceeded
}

// TestAStuckReaderIsCutOff: each write has a deadline, and the stream ends at the first
// that fails.
func TestAStuckReaderIsCutOff(t *testing.T) {
	w := &stuck{flushed: flushed{header: http.Header{}}}
	st := &stream{ctx: t.Context(), heartbeat: time.Hour, allowed: func() error { return nil }}
	require.ErrorIs(t, st.send(w), os.ErrDeadlineExceeded)
	require.WithinDuration(t, time.Now().Add(writeTimeout), w.deadline, 10*time.Second)
}

// flushed is a ResponseWriter that can be flushed.
type flushed struct{ header http.Header }

func (f *flushed) Header() http.Header { return f.header }
func (f *flushed) WriteHeader(int)     {}
func (f *flushed) Flush()              {}
