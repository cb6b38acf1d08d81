package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/wire"
	"github.com/picloud/picloud/internal/testdb"
)

var testAdmin = picloud.Actor{User: "admin", Admin: true}

// setSecret sets a secret through the control API.
func (ta *testAgent) setSecret(app, name, value string) {
	ta.t.Helper()
	resp, answer := ta.do(http.MethodPut, ta.control.URL+"/api/v1/apps/"+app+"/secrets/"+name, value,
		"Authorization", "Bearer "+ta.token, "Content-Type", "application/octet-stream")
	require.Equal(ta.t, http.StatusNoContent, resp.StatusCode, answer)
}

// settings replaces those of a function and waits until the node serves them.
func (ta *testAgent) settings(function string, s picloud.Settings) {
	ta.t.Helper()
	f, err := ta.database.Functions().UpdateSettings(ta.t.Context(), testAdmin, "default", function, s, 0)
	require.NoError(ta.t, err)
	ta.serves(f.Rev)
}

// serves waits until the node serves a revision.
func (ta *testAgent) serves(rev int64) {
	ta.t.Helper()
	require.Eventually(ta.t, func() bool { return ta.replica.Durable() >= rev }, 5*time.Second, time.Millisecond)
}

// answers calls the function until it answers so, for 2 s.
func (ta *testAgent) answers(function, want string) {
	ta.t.Helper()
	var body string
	require.Eventually(ta.t, func() bool { _, body = ta.call(function); return body == want }, 2*time.Second, time.Millisecond)
}

const secretSource = `function handle(req) {
  try { return secrets.get(req.query.name ?? "TOKEN") } catch e { return "error " + e.code }
}`

func TestSecretsReachTheirFunctionOnly(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", secretSource)
	a.answers("f", "error secret_not_found")
	a.setSecret("default", "TOKEN", "first-value")
	a.answers("f", "first-value") // without a deploy
	a.setSecret("default", "TOKEN", "second-value")
	a.answers("f", "second-value")
	a.setSecret("default", "RAW", "\xff\x00")
	get := func(name string) string {
		_, body := a.do(http.MethodGet, a.functions.URL+"/fn/default/f?name="+name, "")
		return body
	}
	require.Eventually(t, func() bool { return get("RAW") == "\xff\x00" }, 2*time.Second, time.Millisecond)
	a.settings("f", picloud.Settings{Secrets: []string{"TOKEN"}})
	require.Equal(t, "error secret_not_found", get("RAW"), "not in the function's list")
	require.Equal(t, "second-value", get("TOKEN"))
	require.Equal(t, "error secret_not_found", get("a%20b"))
	a.settings("f", picloud.Settings{Secrets: []string{}})
	require.Equal(t, "error secret_not_found", get("TOKEN"), "an empty list is none")
	a.settings("f", picloud.Settings{})

	// Another app has secrets of its own.
	status, answer := a.api(http.MethodPut, "/apps/other/functions/f/code?create=true&deploy=true&wait=all", secretSource)
	require.Equal(t, http.StatusCreated, status, answer)
	other := func() string {
		_, body := a.do(http.MethodGet, a.functions.URL+"/fn/other/f", "")
		return body
	}
	require.Equal(t, "error secret_not_found", other())
	a.setSecret("other", "TOKEN", "of-the-other")
	require.Eventually(t, func() bool { return other() == "of-the-other" }, 2*time.Second, time.Millisecond)
	require.Equal(t, "second-value", get("TOKEN"))

	_, err := a.database.Secrets().Delete(t.Context(), testAdmin, "default", "TOKEN")
	require.NoError(t, err)
	a.answers("f", "error secret_not_found")
}

func TestVariablesAndLimitsOfAppAndNode(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", `function handle(req) { return env.get("A", "none") + env.get("B", "none") }`)
	a.answers("f", "nonenone")
	_, err := a.database.Env().Replace(t.Context(), testAdmin, "default", picloud.Env{"A": "app", "B": "app"}, 0)
	require.NoError(t, err)
	a.answers("f", "appapp")
	a.settings("f", picloud.Settings{Env: picloud.Env{"B": "own"}, Limits: picloud.Limits{Queue: 7}})
	a.answers("f", "appown")

	limits := func() picloud.Limits {
		return a.gateway.Endpoint(picloud.RouteKey{App: "default", Function: "f"}).Function().Limits
	}
	_, _, err = a.database.Nodes().ChangeLimits(t.Context(), testAdmin, "pi-1", to(picloud.Limits{Queue: 1, Concurrency: 2, HostCalls: 3}))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return limits().HostCalls == 3 }, 2*time.Second, time.Millisecond)
	_, err = a.database.Apps().UpdateSettings(t.Context(), testAdmin, "default", picloud.AppSettings{Limits: picloud.Limits{Queue: 4, Concurrency: 5}}, 0)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return limits().Concurrency == 5 }, 2*time.Second, time.Millisecond)
	got := limits()
	require.Equal(t, []int{7, 5, 3}, []int{got.Queue, got.Concurrency, got.HostCalls}, "the function's, the app's, the node's")
	require.Equal(t, picloud.DefaultLimits().OutboundCalls, got.OutboundCalls)
	a.answers("f", "appown")
}

// to is a change of limits to these.
func to(limits picloud.Limits) func(picloud.Limits) (picloud.Limits, error) {
	return func(picloud.Limits) (picloud.Limits, error) { return limits, nil }
}

const kvSource = `function handle(req) {
  let op = req.query.op
  try {
    if (op == "set") { return {v: kv.set("k", req.json()) > 0} }
    if (op == "get") { return {v: kv.get("k", "none")} }
    if (op == "incr") { return {v: kv.incr("n", 2)} }
    if (op == "cas") { return {v: kv.cas("c", 0, "x") != false} }
    if (op == "list") { return {v: kv.list({prefix: ""}).items.map(i => i.key)} }
    if (op == "delete") { return {v: kv.delete("k")} }
    if (op == "big") { return {v: kv.set("k", "x".repeat(300000))} }
    if (op == "nan") { return {v: kv.incr("k")} }
    if (op == "key") { return {v: kv.set("", 1)} }
  } catch e { return {error: e.code} }
}`

func TestKeysFromScripts(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", kvSource)
	do := func(op, body string) string {
		_, answer := a.do(http.MethodPost, a.functions.URL+"/fn/default/f?op="+op, body)
		return answer
	}
	require.JSONEq(t, `{"v":"none"}`, do("get", ""))
	for _, value := range []string{`{"a":[1,2.5,"x",null,true,{"b":{}}],"n":-7}`, `9007199254740993`, `"text"`, `[[[[[[[[[[[[1]]]]]]]]]]]]`} {
		require.JSONEq(t, `{"v":true}`, do("set", value))
		require.JSONEq(t, `{"v":`+value+`}`, do("get", ""))
	}
	require.JSONEq(t, `{"v":2}`, do("incr", ""))
	require.JSONEq(t, `{"v":4}`, do("incr", ""))
	require.JSONEq(t, `{"v":true}`, do("cas", ""))
	require.JSONEq(t, `{"v":false}`, do("cas", ""))
	require.JSONEq(t, `{"v":["c","k","n"]}`, do("list", ""))
	require.JSONEq(t, `{"error":"kv_value_too_large"}`, do("big", ""))
	require.JSONEq(t, `{"error":"kv_not_a_number"}`, do("nan", ""))
	require.JSONEq(t, `{"error":"kv_invalid_key"}`, do("key", ""))
	require.JSONEq(t, `{"v":true}`, do("delete", ""))
	require.JSONEq(t, `{"v":false}`, do("delete", ""))
	_, err := a.database.Apps().UpdateSettings(t.Context(), testAdmin, "default", picloud.AppSettings{KV: picloud.KVQuota{Keys: 2}}, 0)
	require.NoError(t, err)
	var got string
	require.Eventually(t, func() bool { got = do("set", "1"); do("delete", ""); return got == `{"error":"kv_quota"}` }, 2*time.Second, time.Millisecond)
	require.Positive(t, sample(t, a.Agent, "picloud_host_calls_total", "kv.get", "ok"))
	require.Positive(t, sample(t, a.Agent, "picloud_host_calls_total", "kv.set", "refused"))
}

const fetchSource = `function handle(req) {
  try {
    let r = http.fetch(req.query.url, {method: "POST", headers: {"x-a": "b"}, body: "hello"})
    return {status: r.status, text: r.text(), h: r.headers["x-b"]}
  } catch e { return {error: e.code} }
}`

func TestOutboundRequestsFromScripts(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-B", r.Header.Get("X-A"))
		fmt.Fprintf(w, "%s %s", r.Method, body)
	}))
	defer server.Close()
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", fetchSource)
	fetch := func(url string) string {
		_, body := a.do(http.MethodGet, a.functions.URL+"/fn/default/f?url="+url, "")
		return body
	}
	require.JSONEq(t, `{"error":"egress_denied"}`, fetch(server.URL))
	a.settings("f", picloud.Settings{Egress: []string{server.Listener.Addr().String()}})
	require.JSONEq(t, `{"status":200,"text":"POST hello","h":"b"}`, fetch(server.URL))
	require.JSONEq(t, `{"error":"egress_denied"}`, fetch(server.URL+"/away?to="+a.control.URL))
	require.JSONEq(t, `{"error":"egress_denied"}`, fetch("http://localhost:1"))
	a.settings("f", picloud.Settings{Egress: []string{"127.0.0.0/8", "*"}})
	for _, own := range []string{a.opts.ControlURL(), a.opts.FunctionsURL(), "http://127.0.0.1:8081", "http://127.1.2.3:8080"} {
		require.JSONEq(t, `{"error":"egress_denied"}`, fetch(own), "the node itself: %s", own)
	}
	a.settings("f", picloud.Settings{Egress: []string{"127.0.0.0/8"}, Limits: picloud.Limits{OutboundCalls: 1}})
	require.JSONEq(t, `{"status":200,"text":"POST hello","h":"b"}`, fetch(server.URL))
	require.JSONEq(t, `{"error":"outbound_call_limit"}`, fetch(server.URL+"/away?to="+server.URL), "a redirect is a call too")
	require.Equal(t, float64(2), sample(t, a.Agent, "picloud_outbound_requests_total", "ok"))
	require.Positive(t, sample(t, a.Agent, "picloud_outbound_requests_total", "egress_denied"))
}

// TestWithoutDatabase: secrets are there, keys are not, and a function can tell.
func TestWithoutDatabase(t *testing.T) {
	server := testdb.Server(t)
	dir := testdb.Dir(t)
	a := startAgent(t, dir, server.DSN()).ready()
	a.deploy("s", secretSource)
	a.deploy("k", kvSource)
	a.setSecret("default", "TOKEN", "first-value")
	a.answers("s", "first-value")
	stop(t, server)
	status, body := a.call("s")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "first-value", body)
	begun := time.Now()
	_, body = a.do(http.MethodGet, a.functions.URL+"/fn/default/k?op=get", "")
	require.JSONEq(t, `{"error":"kv_unavailable"}`, body)
	require.Less(t, time.Since(begun), 5*time.Second)
	require.Positive(t, sample(t, a.Agent, "picloud_host_calls_total", "kv.get", "unavailable"))
	a.Stop()

	b := startAgent(t, dir, server.DSN())
	_, body = b.call("s")
	require.Equal(t, "first-value", body, "from the disk copy and the key beside it")
	_, body = b.do(http.MethodGet, b.functions.URL+"/fn/default/k?op=get", "")
	require.JSONEq(t, `{"error":"kv_unavailable"}`, body)
}

// TestDraftsHaveWhatTheirFunctionHas, and tell no secret in their logs.
func TestDraftsHaveWhatTheirFunctionHas(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", helloSource)
	a.setSecret("default", "TOKEN", "a-secret-value")
	a.settings("f", picloud.Settings{Env: picloud.Env{"A": "own"}})
	require.Eventually(t, func() bool {
		return a.replica.State().App("default").Secrets["TOKEN"] != nil
	}, 2*time.Second, time.Millisecond)
	draft := func(source string) string {
		body, err := json.Marshal(map[string]any{"source": source, "request": map[string]any{"method": "GET", "path": "/"}})
		require.NoError(t, err)
		status, answer := a.api(http.MethodPost, "/apps/default/functions/f/test", string(body))
		require.Equal(t, http.StatusOK, status, answer)
		return answer
	}
	answer := draft(`function handle(req) { let s = secrets.get("TOKEN"); log.info("it is " + s, {list: [s]}); kv.set("k", 1); return env.get("A") + s.len() + kv.get("k") }`)
	require.Contains(t, answer, "it is [secret TOKEN]")
	require.NotContains(t, answer, "a-secret-value")
	answer = draft(`function handle(req) { throw "failed with " + secrets.get("TOKEN") }`)
	require.Contains(t, answer, "failed with [secret TOKEN]")
	require.NotContains(t, answer, "a-secret-value")
}

// TestCountersLoseNothing: clients that compare and set through a script, each
// until it won.
func TestCountersLoseNothing(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", `function handle(req) {
  let e = kv.entry("counter") ?? {value: 0, version: 0}
  return {won: kv.cas("counter", e.version, e.value + 1) != false}
}`)
	const clients, each = 5, 60
	failures := make(chan string, clients)
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for won, tries := 0, 0; won < each; tries++ {
				resp, err := http.Get(a.functions.URL + "/fn/default/f")
				if err != nil || tries > 100*each {
					failures <- fmt.Sprint(tries, err)
					return
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				switch string(body) {
				case `{"won":true}`:
					won++
				case `{"won":false}`:
				default:
					failures <- string(body)
					return
				}
			}
		})
	}
	running.Wait()
	select {
	case failure := <-failures:
		t.Fatal(failure)
	default:
	}
	entry, found, err := a.database.KV().Of("default", picloud.KVQuota{}).Get(t.Context(), "counter", nil)
	require.NoError(t, err)
	require.True(t, found)
	value, err := wire.Unmarshal(entry.Value)
	require.NoError(t, err)
	require.Equal(t, int64(clients*each), value)
}

// TestADraftLeavesNothing: a draft sees what the app keeps and what it wrote itself, and
// the store stays as it was.
func TestADraftLeavesNothing(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", helloSource)
	store := a.database.KV().Of("default", picloud.KVQuota{})
	for i := range 5 {
		_, err := store.Set(t.Context(), fmt.Sprint("k", i), []byte{byte(i)}, 0)
		require.NoError(t, err)
	}
	const source = `function handle(req) {
	kv.set("k1", "new", {ttl: "1h"})
	kv.delete("k2")
	kv.incr("k3", 10)
	kv.set("k9", [1, 2])
	let sent = try { http.get("http://127.0.0.1:9/"); "sent" } catch (e) { e.code }
	let first = kv.list({prefix: "k", limit: 2})
	let rest = kv.list({prefix: "k", cursor: first.next})
	return {all: first.items.map(i => [i.key, i.value]) + rest.items.map(i => [i.key, i.value]), gone: kv.get("k2"), sent: sent}
}`
	body, err := json.Marshal(map[string]any{"source": source})
	require.NoError(t, err)
	status, answer := a.api(http.MethodPost, "/apps/default/functions/f/test", string(body))
	require.Equal(t, http.StatusOK, status, answer)
	var d struct {
		Response struct{ Body string }
		Effects  picloud.Effects
	}
	require.NoError(t, json.Unmarshal([]byte(answer), &d))
	require.JSONEq(t, `{"all":[["k0",0],["k1","new"],["k3",13],["k4",4],["k9",[1,2]]],"gone":null,"sent":"egress_denied"}`, d.Response.Body, answer)
	require.Equal(t, []picloud.KeyWrite{{Key: "k1", Op: "set", Size: 4}, {Key: "k2", Op: "delete"}, {Key: "k3", Op: "set", Size: 1}, {Key: "k9", Op: "set", Size: 3}}, d.Effects.Writes)
	items, _, err := store.List(t.Context(), "", 100, "", nil)
	require.NoError(t, err)
	require.Len(t, items, 5)
	for i, e := range items {
		require.Equal(t, []byte{byte(i)}, e.Value)
		require.Zero(t, e.ExpiresAt)
	}
	require.Zero(t, a.bodies.Used())
}
