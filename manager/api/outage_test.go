package api

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

// One server and one outage for all that has to hold in it: initdb is slow.
func TestOutageOfTheDatabase(t *testing.T) {
	server := testdb.Server(t)
	n := newNodeOn(t, testdb.Open(t, server.DSN()), func(o *Options) { o.Heartbeat = 20 * time.Millisecond })
	n.agent.followed = make(chan struct{}, 1)
	n.app("shop")
	n.deploy("/api/v1/apps/shop/functions/hello", hello)
	before := n.do("GET", "/api/v1/apps/shop/functions/hello", n.admin, "")
	events := n.events(t, helloLogs+"?follow=true")
	receive(t, n.agent.followed)

	// The database goes away while a deploy is between its compiler and its transaction.
	n.agent.slow = func() { require.NoError(t, server.Stop(t.Context())) }
	r := n.do("PUT", helloCode, n.admin, "SLOW")
	require.Equal(t, 503, r.status, r.body)
	require.Equal(t, picloud.CodeDatabaseDown, r.problem(t).Code)

	for _, call := range [][3]string{
		{"GET", "/api/v1/apps", ""},
		{"PUT", helloCode, hello + "\n"},
		{"POST", "/api/v1/apps/shop/members", `{"user":"admin","role":"owner"}`},
		{"PATCH", "/api/v1/apps/shop/functions/hello", `{"settings":{"methods":["GET"]}}`},
		{"GET", helloLogs, ""},
		{"GET", "/api/v1/apps/shop/env", ""},
		{"PUT", "/api/v1/apps/shop/secrets/KEY", "hunter2"},
		{"PUT", "/api/v1/apps/shop/kv/a/b", "hunter2"},
	} {
		r := n.do(call[0], call[1], n.admin, call[2])
		require.Equal(t, 503, r.status, r.body)
		require.Equal(t, picloud.CodeDatabaseDown, r.problem(t).Code)
		require.Equal(t, "2", r.header.Get("Retry-After"))
		require.NotContains(t, r.body, "sock", "the cause stays inside")
	}
	require.Equal(t, 200, n.do("GET", "/healthz", "", "").status)
	require.Contains(t, n.logged.String(), "level=WARN")
	require.NotContains(t, n.logged.String(), "hunter2")

	// A client that follows a log continues to follow it.
	n.agent.mu.Lock()
	feed := n.agent.feeds[0]
	n.agent.mu.Unlock()
	feed <- record(4, "in the outage")
	events("in the outage")
	for range 3 {
		events(": alive") // each of them asked the database first
	}
	close(feed)
	events("event: end")

	require.NoError(t, server.Start(t.Context()))
	require.Eventually(t, func() bool {
		after, err := n.try("GET", "/api/v1/apps/shop/functions/hello", n.admin, "")
		return err == nil && after.status == 200 && after.body == before.body
	}, 20*time.Second, 10*time.Millisecond, "half a change was kept, or the API stays down")
	versions := n.do("GET", "/api/v1/apps/shop/functions/hello/versions", n.admin, "")
	require.Equal(t, 1, strings.Count(versions.body, `"number"`), "half a version was kept")
}

// events opens an event stream and returns what reads it until a line with a text.
func (n *node) events(t *testing.T, path string) (until func(text string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // heartbeats would keep it open for ever
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", n.url+path, nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+n.admin)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	return func(text string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), text) {
				return
			}
			require.NotContains(t, lines.Text(), "event: end")
		}
		require.FailNow(t, "the stream ended before "+text)
	}
}
