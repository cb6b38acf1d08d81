package api

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// atOnce makes n calls that start together, and counts their statuses.
func (n *node) atOnce(count int, call func(i int) (reply, error)) map[int]int {
	n.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	statuses := map[int]int{}
	for i := range count {
		wg.Go(func() {
			<-start
			r, err := call(i)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				n.t.Errorf("call %d: %v", i, err)
				return
			}
			statuses[r.status]++
		})
	}
	close(start)
	wg.Wait()
	return statuses
}

// TestCallsAreSharedOut: a user with as many calls under way as one may have shuts out
// nobody else.
func TestCallsAreSharedOut(t *testing.T) {
	s := newShop(t)
	leave, entered := make(chan struct{}), make(chan struct{}, 100)
	s.agent.slow = func() { entered <- struct{}{}; <-leave }
	var wg sync.WaitGroup
	for range callShares.Each[0] {
		wg.Go(func() {
			_, err := s.try("POST", "/api/v1/apps/shop/functions/hello/validate", s.developer, "SLOW")
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range callShares.Each[0] {
		receive(t, entered)
	}
	r := s.do("GET", "/api/v1/apps", s.developer, "")
	require.Equal(t, 429, r.status)
	require.Equal(t, picloud.CodeQueueFull, r.problem(t).Code)
	require.NotEmpty(t, r.header.Get("Retry-After"))
	require.Equal(t, 200, s.do("GET", "/api/v1/apps", s.viewer, "").status)
	close(leave)
	wg.Wait()
	require.Equal(t, 200, s.do("GET", "/api/v1/apps", s.developer, "").status)
}

func TestConcurrentGrantsKeepTheFirstRole(t *testing.T) {
	s := newShop(t)
	var mu sync.Mutex
	var granted picloud.Role
	statuses := s.atOnce(64, func(i int) (reply, error) {
		role := picloud.Roles[i%len(picloud.Roles)]
		r, err := s.try("POST", "/api/v1/apps/shop/members", s.owner, fmt.Sprintf(`{"user":"stan","role":%q}`, role))
		if r.status == 201 {
			mu.Lock()
			granted = role
			mu.Unlock()
		}
		return r, err
	})
	require.Equal(t, map[int]int{201: 1, 409: 63}, statuses)
	var m picloud.Member
	s.do("GET", "/api/v1/apps/shop/members/stan", s.viewer, "").json(t, &m)
	require.Equal(t, granted, m.Role)
}

func TestConcurrentCreatesMakeOneFunction(t *testing.T) {
	s := newShop(t)
	statuses := s.atOnce(50, func(int) (reply, error) {
		return s.try("POST", "/api/v1/apps/shop/functions", s.developer, `{"name":"cart"}`)
	})
	require.Equal(t, map[int]int{201: 1, 409: 49}, statuses)
}

func TestPatchNeverBringsAMemberBack(t *testing.T) {
	s := newShop(t)
	const stan = "/api/v1/apps/shop/members/stan"
	for range 25 {
		require.Equal(t, 201, s.do("POST", "/api/v1/apps/shop/members", s.owner, `{"user":"stan","role":"viewer"}`).status)
		var deleted, patched int
		statuses := s.atOnce(8, func(i int) (reply, error) {
			if i == 0 {
				r, err := s.try("DELETE", stan, s.owner, "")
				deleted = r.status
				return r, err
			}
			return s.try("PATCH", stan, s.owner, `{"role":"developer"}`)
		})
		patched = statuses[200] + statuses[404]
		require.Equal(t, 204, deleted)
		require.Equal(t, 7, patched, statuses)
		require.Equal(t, 404, s.do("GET", stan, s.owner, "").status, "the membership came back")
	}
}

func TestConcurrentPatchesOfAFunctionAreAllKept(t *testing.T) {
	s := newShop(t)
	fields := []string{"queue", "concurrency", "host_calls", "log_bytes", "request_body"}
	statuses := s.atOnce(len(fields), func(i int) (reply, error) {
		return s.try("PATCH", "/api/v1/apps/shop/functions/hello", s.developer, fmt.Sprintf(`{"settings":{"limits":{%q:77}}}`, fields[i]))
	})
	require.Equal(t, map[int]int{200: len(fields)}, statuses)
	var f picloud.Function
	s.do("GET", "/api/v1/apps/shop/functions/hello", s.viewer, "").json(t, &f)
	require.Equal(t, picloud.Limits{Queue: 77, Concurrency: 77, HostCalls: 77, LogBytes: 77, RequestBody: 77}, f.Settings.Limits)
}

func TestPatchOfAFunctionThatIsDeleted(t *testing.T) {
	s := newShop(t)
	const cart = "/api/v1/apps/shop/functions/cart"
	for range 15 {
		require.Equal(t, 201, s.do("POST", "/api/v1/apps/shop/functions", s.developer, `{"name":"cart"}`).status)
		statuses := s.atOnce(6, func(i int) (reply, error) {
			if i == 0 {
				return s.try("DELETE", cart, s.developer, "")
			}
			return s.try("PATCH", cart, s.developer, fmt.Sprintf(`{"settings":{"limits":{"queue":%d}}}`, i))
		})
		require.Equal(t, 1, statuses[204], statuses)
		require.Equal(t, 5, statuses[200]+statuses[404], statuses)
		require.Equal(t, 404, s.do("GET", cart, s.developer, "").status, "the function came back")
	}
}

// A user who loses the right to deploy while the compiler runs deploys nothing.
func TestRightsEndDuringACompile(t *testing.T) {
	s := newShop(t)
	const code = "/code?create=true"
	for i, tt := range []struct {
		name, path, end string
		admin           bool
	}{
		{"member removed", "/api/v1/apps/shop/functions/hello", "/api/v1/apps/shop/members/%s", false},
		{"member deleted", "/api/v1/apps/shop/functions/hello", "/api/v1/users/%s", false},
		{"admin deleted", "/api/v1/apps/shop/functions/hello", "/api/v1/users/%s", true},
		{"admin deleted, new app", "/api/v1/apps/fresh/functions/hello", "/api/v1/users/%s", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := fmt.Sprintf("user-%d", i)
			var made client.UserToken
			s.do("POST", "/api/v1/users", s.admin, fmt.Sprintf(`{"name":%q,"admin":%t}`, name, tt.admin)).json(t, &made)
			if !tt.admin {
				require.Equal(t, 201, s.do("POST", "/api/v1/apps/shop/members", s.admin, fmt.Sprintf(`{"user":%q,"role":"developer"}`, name)).status)
			}
			s.agent.slow = func() {
				require.Equal(t, 204, s.do("DELETE", fmt.Sprintf(tt.end, name), s.admin, "").status)
			}
			r := s.do("PUT", tt.path+code, made.Token, hello+" // SLOW "+tt.name)
			require.Equal(t, 404, r.status, r.body)
			require.Equal(t, "PC1004", string(r.problem(t).Code))
			require.NotContains(t, s.do("GET", "/api/v1/apps/shop/functions/hello/versions", s.admin, "").body, `"number":2`)
			require.Equal(t, 404, s.do("GET", "/api/v1/apps/fresh", s.admin, "").status)
		})
	}
}

func TestConcurrentPutsOfVariablesKeepOne(t *testing.T) {
	s := newShop(t)
	const env = "/api/v1/apps/shop/env"
	for round := range 5 {
		tag := s.do("GET", env, s.viewer, "").header.Get("ETag")
		statuses := s.atOnce(16, func(i int) (reply, error) {
			return s.try("PUT", env, s.developer, fmt.Sprintf(`{"ROUND":"%d","WHO":"%d"}`, round, i), "If-Match", tag)
		})
		require.Equal(t, map[int]int{200: 1, 412: 15}, statuses)
	}
}

// Secrets do not overwrite each other, although the first ones of an app make its key.
func TestConcurrentSecretsAreAllKept(t *testing.T) {
	s := newShop(t)
	const count = 16
	statuses := s.atOnce(count, func(i int) (reply, error) {
		return s.try("PUT", fmt.Sprintf("/api/v1/apps/shop/secrets/S%d", i), s.developer, fmt.Sprintf("value %d", i))
	})
	require.Equal(t, map[int]int{204: count}, statuses)
	delta, err := s.db.Catalog().Delta(t.Context(), "00000000-0000-0000-0000-000000000001", "", 0)
	require.NoError(t, err)
	require.Len(t, delta.Apps, 1)
	key, err := sealKey.Unwrap("shop", delta.Apps[0].Key)
	require.NoError(t, err)
	for i := range count {
		name := fmt.Sprintf("S%d", i)
		value, err := key.Open(name, delta.Apps[0].Secrets[name])
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("value %d", i), string(value))
	}
	statuses = s.atOnce(8, func(int) (reply, error) { return s.try("DELETE", "/api/v1/apps/shop/secrets/S0", s.developer, "") })
	require.Equal(t, map[int]int{204: 1, 404: 7}, statuses)
}

func TestConcurrentPatchesOfAnAppAreAllKept(t *testing.T) {
	s := newShop(t)
	fields := []string{"queue", "concurrency", "host_calls", "log_bytes", "request_body"}
	statuses := s.atOnce(len(fields), func(i int) (reply, error) {
		return s.try("PATCH", "/api/v1/apps/shop", s.manager, fmt.Sprintf(`{"settings":{"limits":{%q:77}}}`, fields[i]))
	})
	require.Equal(t, map[int]int{200: len(fields)}, statuses)
	var app client.AppDetail
	s.do("GET", "/api/v1/apps/shop", s.viewer, "").json(t, &app)
	require.Equal(t, picloud.Limits{Queue: 77, Concurrency: 77, HostCalls: 77, LogBytes: 77, RequestBody: 77}, app.Settings.Limits)
}

func TestConcurrentPatchesOfANodeAreAllKept(t *testing.T) {
	s := newShop(t)
	s.reports("pi-1")
	fields := []string{"queue", "concurrency", "host_calls", "log_bytes", "request_body"}
	statuses := s.atOnce(len(fields), func(i int) (reply, error) {
		return s.try("PATCH", "/api/v1/nodes/pi-1", s.admin, fmt.Sprintf(`{"limits":{%q:77}}`, fields[i]))
	})
	require.Equal(t, map[int]int{200: len(fields)}, statuses)
	var n picloud.Node
	s.do("GET", "/api/v1/nodes/pi-1", s.viewer, "").json(t, &n)
	require.Equal(t, picloud.Limits{Queue: 77, Concurrency: 77, HostCalls: 77, LogBytes: 77, RequestBody: 77}, n.Limits)
}
