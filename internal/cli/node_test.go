package cli_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/seal"
	"github.com/picloud/picloud/internal/testdb"
	"github.com/picloud/picloud/manager"
	"github.com/picloud/picloud/manager/api"
	"github.com/picloud/picloud/manager/top"
)

// node is the real control API on a real database. The executor and the fleet
// are small stand-ins, and functions answer what was asked of them.
type node struct {
	db        *store.DB
	control   *httptest.Server
	functions *httptest.Server
	token     string
	key       *seal.ClusterKey

	fleet  fleet
	logs   logs
	slow   atomic.Bool // the function "slow" was called
	checks sync.Mutex  // guards what the stand-ins hold
}

const nodeID = "00000000-0000-0000-0000-000000000001"

func newNode(t testing.TB) *node {
	n := &node{db: testdb.New(t), token: "pct_" + randomText(), key: seal.Generate()}
	n.logs.node, n.fleet.node = n, n
	hash := sha256.Sum256([]byte(n.token))
	_, err := n.db.Users().Bootstrap(context.Background(), "admin", hash[:])
	require.NoError(t, err)
	require.NoError(t, n.db.Nodes().Report(context.Background(), picloud.Node{ID: nodeID, Name: "pi-1", Version: "test"}))
	m, err := manager.New(manager.Options{
		Apps: n.db.Apps(), Functions: n.db.Functions(), Versions: n.db.Versions(), Deployments: n.db.Deployments(),
		Users: n.db.Users(), Secrets: n.db.Secrets(), Sealer: sealer{n.key}, Compiler: compiler{}, Drafter: compiler{}, Fleet: &n.fleet,
	})
	require.NoError(t, err)
	handler, err := api.New(api.Options{
		Manager: m,
		Apps:    api.AppStores{Apps: n.db.Apps(), Functions: n.db.Functions(), Versions: n.db.Versions(), Deployments: n.db.Deployments()},
		People:  api.PeopleStores{Members: n.db.Members(), Users: n.db.Users()},
		Data:    api.DataStores{Env: n.db.Env(), Secrets: n.db.Secrets(), KV: n.db.KV()},
		Runs:    api.RunStores{Runs: runs{}, Logs: &n.logs, Meter: meter{}},
		Nodes:   api.NodeStores{Nodes: n.db.Nodes(), Invitations: n.db.Invitations(), Inviter: testdb.Inviter{DB: n.db}, State: testdb.Alone{}}, Ready: func() error { return nil }, Node: "pi-1",
	})
	require.NoError(t, err)
	n.control = httptest.NewServer(handler)
	t.Cleanup(n.control.Close)
	t.Cleanup(n.logs.end)
	n.functions = httptest.NewServer(http.HandlerFunc(n.serveFunction))
	t.Cleanup(n.functions.Close)
	return n
}

func randomText() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// meter is a node on which the function hello of the app default is called once a second.
type meter struct{}

func (meter) Sample([]string) top.Sample {
	now := time.Now()
	n := now.UnixMilli()
	return top.Sample{
		At: now, Bounds: []float64{0.01, 0.1}, Machine: top.Machine{Load: 0.5, Cores: 4, Memory: 1 << 30, Executors: 1, Reserved: 64 << 20, Running: 3},
		Functions: map[picloud.RouteKey]top.Counters{
			{App: "default", Function: "hello"}: {Calls: n, Errors: n / 2, Seconds: float64(n) / 100, Buckets: []int64{n, 0, 0}, Running: 2, Waiting: 1},
			{App: "default", Function: "quiet"}: {Calls: 7},
		},
	}
}

// compiler finds fault with scripts that hold the word BROKEN, and drafts of
// scripts that hold the word THROW.
type compiler struct{}

func (compiler) Compile(_ context.Context, source []byte, name string) (picloud.Compiled, error) {
	for i, line := range strings.Split(string(source), "\n") {
		if col := strings.Index(line, "BROKEN"); col >= 0 {
			return picloud.Compiled{}, &picloud.Error{
				Code: picloud.CodeScript, Op: "compile", Resource: name, Detail: "the script does not compile",
				Script: &picloud.ScriptError{Line: i + 1, Column: col + 1, Message: `unexpected "BROKEN"`, Excerpt: line},
			}
		}
	}
	return picloud.Compiled{Handlers: []string{"handle"}}, nil
}

func (c compiler) Draft(ctx context.Context, _ picloud.Function, source []byte, _ time.Duration, r picloud.Request, net bool) (picloud.Response, []picloud.LogRecord, picloud.Effects, error) {
	if _, err := c.Compile(ctx, source, "draft"); err != nil {
		return picloud.Response{}, nil, picloud.Effects{}, err
	}
	log := []picloud.LogRecord{{
		Time: time.Now(), Level: "info", Message: "called", Fields: map[string]any{"path": r.Path}, Invocation: "1",
	}}
	if i := strings.Index(string(source), "THROW"); i >= 0 {
		return picloud.Response{}, log, picloud.Effects{}, &picloud.Error{
			Code: picloud.CodeFunctionError, Detail: "the function raised an error",
			Script: &picloud.ScriptError{Line: 1, Column: i + 1, Message: "thrown", Excerpt: string(source)},
		}
	}
	body, err := json.Marshal(map[string]any{"method": r.Method, "path": r.Path, "query": r.Query, "body": string(r.Body)})
	return picloud.Response{Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}, log, picloud.Effects{
		Writes:   []picloud.KeyWrite{{Key: "a\n\x1b[1m", Op: picloud.WriteSet, Size: 2048}, {Key: "b", Op: picloud.WriteDelete}},
		Requests: []picloud.OutboundRequest{{Method: "POST", URL: "https://a.example/x", Sent: net}}, MoreRequests: 2,
	}, err
}

// sealer seals with a key of its own.
type sealer struct{ key *seal.ClusterKey }

func (s sealer) FreshKey(app string) ([]byte, error) { return s.key.NewDataKey(app), nil }

func (s sealer) Seal(app, name string, wrapped, value []byte) ([]byte, error) {
	key, err := s.key.Unwrap(app, wrapped)
	if err != nil {
		return nil, err
	}
	return key.Seal(name, value), nil
}

// secret opens what was sealed for an app.
func (n *node) secret(app, name string) (string, error) {
	delta, err := n.db.Catalog().Delta(context.Background(), nodeID, "", 0)
	if err != nil {
		return "", err
	}
	for _, a := range delta.Apps {
		if a.App != app || a.Secrets[name] == nil {
			continue
		}
		key, err := n.key.Unwrap(app, a.Key)
		if err != nil {
			return "", err
		}
		value, err := key.Open(name, a.Secrets[name])
		return string(value), err
	}
	return "", fmt.Errorf("app %s has no secret %s", app, name)
}

// fleet is node pi-1, and others that have not been heard from.
type fleet struct {
	node    *node
	missing []string
}

func (f *fleet) Await(_ context.Context, rev int64, mode picloud.Wait) (picloud.Acks, error) {
	if mode == "none" {
		return picloud.Acks{Rev: rev}, nil
	}
	f.node.checks.Lock()
	defer f.node.checks.Unlock()
	return picloud.Acks{Rev: rev, Nodes: []string{"pi-1"}, Missing: f.missing, Complete: len(f.missing) == 0}, nil
}

// runs remembers one call, which failed.
type runs struct{}

var failedCall = picloud.Invocation{
	ID: "call-2", App: "default", Function: "throws", Version: 1, Trigger: "http", Method: "GET", Path: "/", Status: 500, Code: picloud.CodeFunctionError,
	Error: "boom", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Duration: picloud.Duration(1500 * time.Microsecond), Node: "pi-1",
}

func (runs) Invocations(_ string, functions []string, _ int, keep func(*picloud.Invocation) bool) (out []picloud.Invocation) {
	if call := failedCall; keep == nil || keep(&call) && (len(functions) == 0 || slices.Contains(functions, "throws")) {
		out = append(out, call)
	}
	return out
}

func (runs) Invocation(id string) (rec picloud.Invocation, found bool) {
	return failedCall, id == failedCall.ID
}

func (runs) Follow(string, []string) func() ([]picloud.Invocation, int64) {
	return func() ([]picloud.Invocation, int64) { return nil, 0 }
}

// logs keeps the records that scripts add.
type logs struct {
	node    *node
	records []picloud.LogRecord
	readers []chan picloud.LogRecord
}

func (l *logs) add(level, message string) {
	l.addOf("", level, message)
}

// addOf adds a record of a call.
func (l *logs) addOf(call, level, message string) {
	l.node.checks.Lock()
	defer l.node.checks.Unlock()
	if call == "" {
		call = fmt.Sprintf("0000a%d", len(l.records))
	}
	rec := picloud.LogRecord{
		Seq: int64(len(l.records) + 1), Time: time.Now().UTC(), Level: level, Message: message, Function: "hello", Version: 1,
		Invocation: call, Fields: map[string]any{"n": len(l.records)},
	}
	l.records = append(l.records, rec)
	for _, reader := range l.readers {
		reader <- rec
	}
}

// followers says how many read along.
func (l *logs) followers() int {
	l.node.checks.Lock()
	defer l.node.checks.Unlock()
	return len(l.readers)
}

// end closes every stream, as a node does that drains.
func (l *logs) end() {
	l.node.checks.Lock()
	defer l.node.checks.Unlock()
	for _, reader := range l.readers {
		close(reader)
	}
	l.readers = nil
}

func (l *logs) Tail(_ context.Context, q picloud.LogQuery, _ func(int64) error) ([]picloud.LogLine, error) {
	l.node.checks.Lock()
	defer l.node.checks.Unlock()
	return l.pick(q), nil
}

// pick returns the records that a query asks for. The caller holds checks.
func (l *logs) pick(q picloud.LogQuery) (out []picloud.LogLine) {
	for _, r := range l.records {
		if r.Time.Before(q.Since) || r.Seq <= q.After.Seq || q.Call != "" && r.Invocation != q.Call || q.Level == "error" && r.Level != "error" {
			continue
		}
		text, err := json.Marshal(r)
		if err != nil {
			panic(err)
		}
		out = append(out, picloud.LogLine{LogPosition: picloud.LogPosition{Seq: r.Seq, Time: r.Time}, JSON: text})
	}
	if q.After.Seq > 0 {
		return out
	}
	return out[max(0, len(out)-q.Limit):]
}

func (l *logs) Follow(_ context.Context, q picloud.LogQuery) (func(context.Context) ([]picloud.LogLine, error), error) {
	l.node.checks.Lock()
	defer l.node.checks.Unlock()
	reader := make(chan picloud.LogRecord, 100)
	backlog := l.pick(q)
	l.readers = append(l.readers, reader)
	return func(ctx context.Context) ([]picloud.LogLine, error) {
		if out := backlog; len(out) > 0 {
			backlog = nil
			return out, nil
		}
		select {
		case r, more := <-reader:
			if !more {
				return nil, io.EOF
			}
			text, err := json.Marshal(r)
			return []picloud.LogLine{{LogPosition: picloud.LogPosition{Seq: r.Seq, Time: r.Time}, JSON: text}}, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, nil
}

// serveFunction answers what it was asked, or the problem that the function's
// name stands for.
func (n *node) serveFunction(w http.ResponseWriter, r *http.Request) {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/fn/"), "/", 3)
	w.Header().Set("X-Call-Id", "call-1")
	w.Header().Set("X-PiCloud-Version", "v3") // the live one
	switch parts[1] {
	case "gone":
		w.Header().Del("X-PiCloud-Version")
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("X-PiCloud-Error", "platform")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"type":"/problems/function-not-found","title":"No such function","status":404,"code":"PC1201","detail":"there is no function default/gone"}`)
		return
	case "throws":
		w.Header().Set("X-Call-Id", "call-2")
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("X-PiCloud-Error", "function")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"type":"/problems/function-error","title":"Function failed","status":500,"code":"PC1203","detail":"default/throws raised an error","request_id":"call-2"}`)
		return
	case "slow":
		n.slow.Store(true)
		<-r.Context().Done()
		return
	case "teapot":
		w.WriteHeader(http.StatusTeapot)
	}
	w.Header().Set("Content-Type", "application/json")
	body, _ := io.ReadAll(r.Body)
	answer, _ := json.Marshal(map[string]any{
		"method": r.Method, "path": r.URL.Path, "query": r.URL.RawQuery, "body": string(body),
		"type": r.Header.Get("Content-Type"), "version": r.Header.Get("X-PiCloud-Version"), "custom": r.Header.Get("X-Custom"),
		"authorization": r.Header.Get("Authorization"),
	})
	_, _ = w.Write(answer)
}
