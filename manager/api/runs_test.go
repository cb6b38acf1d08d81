package api

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
	"github.com/picloud/picloud/manager/api/client"
	"github.com/picloud/picloud/manager/top"
)

func TestInvocations(t *testing.T) {
	s := newShop(t)
	s.agent.runs = []picloud.Invocation{
		{ID: "i3", App: "shop", Function: "cart"}, {ID: "i2", App: "shop", Function: "hello"}, {ID: "i1", App: "blog", Function: "hello"},
	}
	ids := func(query string) (out []string) {
		r := s.do("GET", "/api/v1/invocations"+query, s.viewer, "")
		require.Equal(t, 200, r.status, r.body)
		var l client.InvocationList
		r.json(t, &l)
		for _, i := range l.Items {
			out = append(out, i.ID)
		}
		return out
	}
	require.Equal(t, []string{"i3", "i2"}, ids("?app=shop"))
	require.Equal(t, []string{"i3"}, ids("?app=shop&limit=1"))
	require.Equal(t, []string{"i2"}, ids("?app=shop&function=hello"))
	require.Equal(t, 404, s.do("GET", "/api/v1/invocations?app=shop&function=none", s.viewer, "").status)

	require.Equal(t, 200, s.do("GET", "/api/v1/invocations/i2", s.viewer, "").status)
	foreign := s.do("GET", "/api/v1/invocations/i1", s.viewer, "")
	absent := s.do("GET", "/api/v1/invocations/i9", s.viewer, "")
	require.Equal(t, 404, foreign.status)
	require.Equal(t, 404, absent.status)
	require.Equal(t, foreign.problem(t).Hint, absent.problem(t).Hint, "a foreign call looks like none")
}

func TestInvocationsByStatusAndTime(t *testing.T) {
	s := newShop(t)
	now := time.Now().UTC().Truncate(time.Second)
	add := func(id string, ago time.Duration, status int, code picloud.Code) {
		s.agent.runs = append(s.agent.runs, picloud.Invocation{ID: id, App: "shop", Function: "hello", Started: now.Add(-ago), Status: status, Code: code})
	}
	add("ok", time.Second, 200, "")
	add("own500", time.Minute, 500, "")
	add("timeout", time.Hour, 504, picloud.CodeFunctionTimeout)
	add("large", 2*time.Hour, 413, picloud.CodeRequestTooLarge)
	add("missing", 3*time.Hour, 404, "")
	add("old", 30*time.Hour, 200, "")
	for query, want := range map[string]string{
		"":                           "ok own500 timeout large missing old",
		"&status=&since=":            "ok own500 timeout large missing old",
		"&status=500":                "own500",
		"&status=5xx":                "own500 timeout",
		"&status=4xx":                "large missing",
		"&status=1xx":                "",
		"&status=failed":             "own500 timeout large",
		"&status=ok":                 "ok missing old",
		"&status=ok&limit=2":         "ok missing",
		"&status=504&limit=1":        "timeout",
		"&since=90m":                 "ok own500 timeout",
		"&since=90m&status=failed":   "own500 timeout",
		"&since=90m&limit=1":         "ok",
		"&function=hello&status=4xx": "large missing",
		"&since=" + now.Add(-time.Hour).Format(time.RFC3339): "ok own500 timeout",
	} {
		r := s.do("GET", "/api/v1/invocations?app=shop"+query, s.viewer, "")
		require.Equal(t, 200, r.status, r.body)
		var l client.InvocationList
		r.json(t, &l)
		require.NotNil(t, l.Items)
		var ids []string
		for _, i := range l.Items {
			ids = append(ids, i.ID)
		}
		require.Equal(t, want, strings.Join(ids, " "), query)
	}
	for query, field := range map[string]string{
		"status=6xx": "status", "status=0xx": "status", "status=5XX": "status", "status=50": "status", "status=099": "status",
		"status=600": "status", "status=xx": "status", "status=-5xx": "status", "status=%2B50": "status", "status=%2B5xx": "status", "status=bad": "status",
		"since=yesterday": "since", "since=-5m": "since",
	} {
		r := s.do("GET", "/api/v1/invocations?app=shop&"+query, s.viewer, "")
		require.Equal(t, 400, r.status, query)
		require.Equal(t, field, r.problem(t).Errors[0].Field, query)
	}
	require.Equal(t, 404, s.do("GET", "/api/v1/invocations?app=shop&status=ok", s.stranger, "").status)
}

func TestNodes(t *testing.T) {
	s := newShop(t)
	for _, name := range []string{"pi-2", "pi-1"} {
		testdb.Join(t, s.db, picloud.Actor{User: "admin", Admin: true}, picloud.Node{ID: "00000000-0000-0000-0000-00000000000" + name[3:], Name: name, Version: "test"})
	}
	var l client.NodeList
	s.do("GET", "/api/v1/nodes", s.stranger, "").json(t, &l)
	require.Len(t, l.Items, 2)
	require.Equal(t, "pi-1", l.Items[0].Name)
	require.Equal(t, 200, s.do("GET", "/api/v1/nodes/pi-2", s.stranger, "").status)
	require.Equal(t, 404, s.do("GET", "/api/v1/nodes/pi-3", s.stranger, "").status)
}

// fakeMeter is a node on which functions of two apps are called, whatever apps it is asked
// for.
type fakeMeter struct{ samples atomic.Int64 }

func (m *fakeMeter) Sample([]string) top.Sample {
	n := m.samples.Add(1)
	s := top.Sample{At: time.Now(), Bounds: []float64{0.01, 0.1}, Functions: map[picloud.RouteKey]top.Counters{}, Machine: top.Machine{Load: 0.5, Cores: 4, Running: 3}}
	for i, key := range []picloud.RouteKey{{App: "shop", Function: "hello"}, {App: "shop", Function: "cart"}, {App: "blog", Function: "hello"}} {
		calls := n * int64(i+1) * 10
		s.Functions[key] = top.Counters{Calls: calls, Errors: calls / 10, Seconds: float64(calls) / 50, Buckets: []int64{0, calls, 0}, Running: 1}
	}
	return s
}

// TestTop: functions of the caller's apps only, nodes for cluster admins only, in the order
// and number that is asked for.
func TestTop(t *testing.T) {
	s := newShop(t)
	get := func(token, query string) (found client.Top, names string) {
		r := s.do("GET", "/api/v1/top?window=100ms"+query, token, "")
		require.Equal(t, 200, r.status, r.body)
		r.json(t, &found)
		for _, f := range found.Functions {
			names += f.App + "/" + f.Function + " "
		}
		return found, names
	}
	found, names := get(s.admin, "")
	require.Equal(t, "blog/hello shop/cart shop/hello ", names, "the most calls first")
	require.Equal(t, []client.TopNode{{Name: "pi-1", Load: 0.5, Cores: 4, Running: 3}}, found.Nodes)
	require.Equal(t, picloud.Duration(100*time.Millisecond), found.Window)
	first := found.Functions[0]
	require.Greater(t, first.Calls, 30.0, "30 in a tenth of a second or a little more")
	require.InEpsilon(t, first.Calls/10, first.Errors, 0.01)
	require.Equal(t, picloud.Duration(20*time.Millisecond), first.Mean)
	require.Equal(t, picloud.Duration(55*time.Millisecond), first.P50)
	require.Equal(t, 1, first.Running)

	found, names = get(s.viewer, "&sort=name")
	require.Equal(t, "shop/cart shop/hello ", names, "other apps are not shown")
	require.Empty(t, found.Nodes, "nor nodes")
	_, names = get(s.user("nobody"), "")
	require.Empty(t, names)
	found, names = get(s.admin, "&app=shop&limit=1&sort=errors")
	require.Equal(t, "shop/cart ", names)
	require.Equal(t, 1, found.More)

	run(t, s, []scenario{
		{who: "stranger", method: "GET", path: "/top?app=shop", status: 404, code: "PC1004"},
		{who: "admin", method: "GET", path: "/top?app=absent", status: 404, code: "PC1004"},
		{who: "viewer", method: "GET", path: "/top?window=11s", status: 400, code: "PC1001"},
		{who: "viewer", method: "GET", path: "/top?window=soon", status: 400, code: "PC1001"},
		{who: "viewer", method: "GET", path: "/top?sort=size", status: 400, code: "PC1001"},
		{who: "viewer", method: "GET", path: "/top?limit=201", status: 400, code: "PC1001"},
	})
}
