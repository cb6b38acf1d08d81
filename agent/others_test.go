package agent

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/internal/testdb"
	"github.com/picloud/picloud/manager/api/client"
)

const sayingSource = `function handle(req) { log.info("said " + req.query.get("word", "")); return "ok" }`

// says calls a function that logs a word, and returns the call's id.
func (ta *testAgent) says(word string) (id string) {
	ta.t.Helper()
	resp, body := ta.do(http.MethodGet, ta.functions.URL+"/fn/default/say?word="+word, "")
	require.Equal(ta.t, http.StatusOK, resp.StatusCode, body)
	return resp.Header.Get("X-Call-Id")
}

// read gets a document of the control API.
func read[T any](ta *testAgent, path string) (out T) {
	ta.t.Helper()
	status, body := ta.api(http.MethodGet, path, "")
	require.Equal(ta.t, http.StatusOK, status, body)
	require.NoError(ta.t, json.Unmarshal([]byte(body), &out), body)
	return out
}

// messages are what records say, with their nodes.
func messages(records []picloud.LogRecord) (out []string) {
	for _, r := range records {
		out = append(out, r.Node+" "+r.Message)
	}
	return out
}

// TestLogsAndCallsOfAllNodes: any node answers for all of them, in the order of time, and
// names the one that does not answer.
func TestLogsAndCallsOfAllNodes(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	a.deploy("say", sayingSource)
	b := a.joined("pi-2")
	b.token = a.token
	require.Eventually(t, func() bool { return len(others{a.Agent}.Others()) == 1 && others{a.Agent}.Others()[0].Alive }, 20*time.Second, time.Millisecond)

	a.says("one")
	id := b.says("two")
	a.says("three")
	b.says("four")
	all := []string{"pi-1 said one", "pi-2 said two", "pi-1 said three", "pi-2 said four"}
	for _, n := range []*testAgent{a, b} {
		logs := read[client.LogList](n, "/apps/default/logs?calls=true")
		require.Equal(t, all, messages(logs.Items))
		require.Equal(t, []string{"pi-1", "pi-2"}, logs.Nodes)
		require.Empty(t, logs.Unanswered)
		require.Len(t, logs.Calls, 4)
		require.Equal(t, all[2:], messages(read[client.LogList](n, "/apps/default/functions/say/logs?tail=2").Items))
		require.Equal(t, all[1:2], messages(read[client.LogList](n, "/apps/default/logs?call="+id).Items))
		require.Equal(t, "pi-2", read[picloud.Invocation](n, "/invocations/"+id).Node)
		runs := read[client.InvocationList](n, "/invocations?app=default&limit=3")
		require.Len(t, runs.Items, 3)
		require.Equal(t, []string{"pi-2", "pi-1", "pi-2"}, []string{runs.Items[0].Node, runs.Items[1].Node, runs.Items[2].Node})
		require.Empty(t, read[client.InvocationList](n, "/invocations?app=default&status=failed").Items)
	}
	status, body := b.api(http.MethodGet, "/invocations/unknown", "")
	require.Equal(t, http.StatusNotFound, status, body)

	// What nodes tell one another is not on the control listener.
	for _, n := range []*testAgent{a, b} {
		resp, body := n.do(http.MethodGet, n.control.URL+"/node/v1/apps/default/logs", "", "Authorization", "Bearer "+a.token)
		require.Equal(t, http.StatusNotFound, resp.StatusCode, body)
	}

	for _, n := range read[client.NodeList](b, "/nodes").Items {
		require.Equal(t, n.Name == "pi-1", n.Manager, n)
		require.NotNil(t, n.Running, n)
		require.Zero(t, *n.Running, n)
		require.False(t, n.Away, n)
	}

	// What goes on now is that of all nodes, too, with what was counted during the window.
	a.deploy("calm", `function handle(req) { return "ok" }`)
	for _, n := range []*testAgent{a, b} {
		ctx, cancel := context.WithCancel(t.Context())
		calling := make(chan struct{})
		go func() {
			defer close(calling)
			for ctx.Err() == nil {
				a.do(http.MethodGet, a.functions.URL+"/fn/default/calm", "")
				b.do(http.MethodGet, b.functions.URL+"/fn/default/calm", "")
			}
		}()
		top := read[client.Top](n, "/top?window=300ms")
		cancel()
		<-calling
		require.Len(t, top.Functions, 1)
		f := top.Functions[0]
		require.Equal(t, "default/calm", f.App+"/"+f.Function)
		require.Positive(t, f.Calls)
		require.Zero(t, f.Errors)
		require.Positive(t, f.P99)
		require.Empty(t, top.Unanswered)
		require.Equal(t, []string{"pi-1", "pi-2"}, []string{top.Nodes[0].Name, top.Nodes[1].Name})
		for _, node := range top.Nodes {
			require.Positive(t, node.Memory)
			require.Equal(t, 1, node.Executors, node)
		}
	}
	idle := read[client.Top](a, "/top?window=100ms")
	require.Empty(t, idle.Functions, "what does nothing is not listed")

	b.Stop()
	require.Equal(t, []string{"pi-2"}, read[client.Top](a, "/top?window=100ms").Unanswered)
	require.True(t, read[client.NodeList](a, "/nodes").Items[1].Away)
	logs := read[client.LogList](a, "/apps/default/logs")
	require.Equal(t, []string{"pi-1 said one", "pi-1 said three"}, messages(logs.Items))
	require.Equal(t, []string{"pi-2"}, logs.Unanswered)
	require.Equal(t, []string{"pi-2"}, read[client.InvocationList](a, "/invocations?app=default").Unanswered)
	_, body = a.api(http.MethodGet, "/invocations/"+id, "")
	require.Contains(t, body, "these did not answer: pi-2")
}

// TestFollowLogsOfAllNodes: a stream has the records of all nodes, goes on where it broke
// off, and says that a node does not answer.
func TestFollowLogsOfAllNodes(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	a.deploy("say", sayingSource)
	b := a.joined("pi-2")
	require.Eventually(t, func() bool { return len(others{a.Agent}.Others()) == 1 && others{a.Agent}.Others()[0].Alive }, 20*time.Second, time.Millisecond)
	a.says("one")
	b.says("two")
	c, err := client.New(b.control.URL, a.token)
	require.NoError(t, err)
	after := ""
	// until follows the log until a record says something, and returns what came.
	until := func(last string, then ...func()) (got []string) {
		yes := true
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		params := &client.GetAppLogsParams{Follow: &yes, Calls: &yes}
		if after != "" {
			params.After = &after
		}
		seen := 0
		for event, err := range client.Follow(c.GetAppLogs(ctx, "default", params)) {
			require.NoError(t, err, got)
			after = client.After(after, event.Position)
			if event.Record == nil {
				continue
			}
			got = append(got, event.Record.Node+" "+event.Record.Message)
			if strings.HasPrefix(event.Record.Message, last) {
				return got
			}
			if seen < len(then) {
				then[seen]()
				seen++
			}
		}
		t.Fatalf("the log ended: %v", got)
		return nil
	}
	require.Equal(t, []string{"pi-1 said one", "pi-2 said two", "pi-2 said three", "pi-1 said four"},
		until("said four", func() {}, func() { b.says("three"); a.says("four") }))
	b.says("five")
	a.says("six")
	require.Equal(t, []string{"pi-2 said five", "pi-1 said six"}, until("said six"))
	require.Equal(t, 2, strings.Count(after, ":"), after)

	c, err = client.New(a.control.URL, a.token)
	require.NoError(t, err)
	a.says("seven")
	require.Equal(t, []string{"pi-1 said seven", "pi-2 pi-2 does not answer: what it logs is missing from here on, and comes when it does"}, until("pi-2 does not", b.Stop))
}

// TestOnlyManagersAreTold: a node that only serves functions learns nothing of others.
func TestOnlyManagersAreTold(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	b := a.joined("pi-2")
	require.Eventually(t, func() bool { return len(others{b.Agent}.Others()) == 1 }, 20*time.Second, time.Millisecond)
	conn, err := b.cluster.Dial(t.Context(), a.identity.ID, port.RPC)
	require.NoError(t, err)
	defer conn.Close()
	peer, known := withPeer(t.Context(), conn).Value(peerKey{}).(identity.Peer)
	require.True(t, known)
	require.Equal(t, identity.Manager, peer.Role)
	for role, want := range map[identity.Role]int{identity.Manager: http.StatusOK, identity.Node: http.StatusForbidden, "": http.StatusForbidden} {
		r, err := http.NewRequestWithContext(context.WithValue(t.Context(), peerKey{}, identity.Peer{Role: role}), http.MethodGet, "http://x/node/v1/apps/default/logs", nil)
		require.NoError(t, err)
		w := httptest.NewRecorder()
		a.serveOther(w, r)
		require.Equal(t, want, w.Code, "%q: %s", role, w.Body)
	}
}

// TestADeployTellsEachNodesTime: the acknowledgement says when each node served the change.
func TestADeployTellsEachNodesTime(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	b := a.joined("pi-2")
	b.token = a.token
	status, body := b.api(http.MethodPut, "/apps/default/functions/say/code?create=true&deploy=true&wait=all", sayingSource)
	require.Equal(t, http.StatusCreated, status, body)
	var d client.Deployed
	require.NoError(t, json.Unmarshal([]byte(body), &d))
	require.True(t, d.Acks.Complete, body)
	require.Len(t, d.Acks.Times, 2, body)
	for _, node := range d.Acks.Nodes {
		require.Positive(t, d.Acks.Times[node], body)
		require.LessOrEqual(t, d.Acks.Times[node], d.Timings.Await, body)
	}
}

// TestAnAnswerThatNobodyTakesEnds: the other node keeps the connection and reads nothing.
func TestAnAnswerThatNobodyTakesEnds(t *testing.T) {
	ended := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		out := press(w)
		out.patience = 50 * time.Millisecond
		_, err := io.Copy(out, io.LimitReader(zeros{}, 1<<30))
		ended <- err
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: pi-1\r\n\r\n")
	require.NoError(t, err)
	select {
	case err := <-ended:
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	case <-time.After(20 * time.Second):
		t.Fatal("the node goes on writing")
	}
}

// zeros is a source without an end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
