package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
	"github.com/picloud/picloud/manager"
	"github.com/picloud/picloud/manager/api/client"
)

const hello = "function handle(req) { return {hello: 1} }"

// node is a control API on a real socket and a real database. What belongs to
// the agent is faked at the manager's interfaces.
type node struct {
	t      *testing.T
	db     *store.DB
	url    string
	admin  string // token of a cluster admin
	agent  *fakeAgent
	logged *buffer // what the API logged
}

func newNode(t *testing.T, change ...func(*Options)) *node {
	t.Helper()
	return newNodeOn(t, testdb.New(t), change...)
}

func newNodeOn(t *testing.T, db *store.DB, change ...func(*Options)) *node {
	t.Helper()
	n := &node{t: t, db: db, agent: &fakeAgent{complete: true}, logged: &buffer{}}
	logger := slog.New(slog.NewTextHandler(n.logged, nil))
	m, err := manager.New(manager.Options{
		Apps: db.Apps(), Functions: db.Functions(), Versions: db.Versions(), Deployments: db.Deployments(), Users: db.Users(),
		Secrets: db.Secrets(), Sealer: n.agent, Compiler: n.agent, Drafter: n.agent, Fleet: n.agent, Logger: logger, AwaitTimeout: time.Second,
	})
	require.NoError(t, err)
	o := Options{
		Manager: m,
		Apps:    AppStores{Apps: db.Apps(), Functions: db.Functions(), Versions: db.Versions(), Deployments: db.Deployments()},
		People:  PeopleStores{Members: db.Members(), Users: db.Users()},
		Data:    DataStores{Env: db.Env(), Secrets: db.Secrets(), KV: db.KV()},
		Runs:    RunStores{Runs: fakeRuns{n.agent}, Logs: n.agent, Meter: &fakeMeter{}},
		Nodes:   NodeStores{Nodes: db.Nodes(), Invitations: db.Invitations(), Inviter: testdb.Inviter{DB: db}, State: testdb.Alone{}}, Ready: n.agent.Ready, Missing: func() []string { return n.agent.missing }, Node: "pi-1", Logger: logger,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "picloud_up 1\n") }),
	}
	for _, c := range change {
		c(&o)
	}
	h, err := New(o)
	require.NoError(t, err)
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	n.url = srv.URL
	token, hash := manager.NewToken()
	_, err = db.Users().Bootstrap(t.Context(), "admin", hash)
	require.NoError(t, err)
	n.admin = token
	return n
}

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// json decodes the body.
func (r reply) json(t *testing.T, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(r.body), v), r.body)
}

// problem decodes an error's body and checks what all of them have.
func (r reply) problem(t *testing.T) client.Problem {
	t.Helper()
	require.Equal(t, "application/problem+json", r.header.Get("Content-Type"), r.body)
	var p client.Problem
	r.json(t, &p)
	require.Equal(t, r.status, p.Status)
	require.Equal(t, r.header.Get("X-Request-Id"), p.RequestID)
	require.NotEmpty(t, p.RequestID)
	return p
}

func (n *node) do(method, path, token, body string, headers ...string) reply {
	n.t.Helper()
	r, err := n.try(method, path, token, body, headers...)
	require.NoError(n.t, err)
	return r
}

// try is do for goroutines other than the test's.
func (n *node) try(method, path, token, body string, headers ...string) (reply, error) {
	req, err := http.NewRequest(method, n.url, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	// The path goes out as it is written, tricks included.
	req.URL.Opaque = strings.TrimPrefix(n.url, "http:") + path
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	transport := http.DefaultTransport.(*http.Transport)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b)}, err
}

// clusterAdmin is the user whose token is node.admin.
var clusterAdmin = picloud.Actor{User: "admin", Admin: true}

// user creates a user and returns its token.
func (n *node) user(name string) string {
	n.t.Helper()
	token, hash := manager.NewToken()
	_, err := n.db.Users().Create(n.t.Context(), clusterAdmin, name, false, hash)
	require.NoError(n.t, err)
	return token
}

// member creates a user with a role in an app and returns its token.
func (n *node) member(app, name string, role picloud.Role) string {
	n.t.Helper()
	token := n.user(name)
	_, err := n.db.Members().Add(n.t.Context(), clusterAdmin, app, name, role)
	require.NoError(n.t, err)
	return token
}

func (n *node) app(name string) {
	n.t.Helper()
	r := n.do("POST", "/api/v1/apps", n.admin, `{"name":"`+name+`"}`)
	require.Equal(n.t, 201, r.status, r.body)
}

// deploy puts code into a function, which it creates.
func (n *node) deploy(path, source string) client.Deployed {
	n.t.Helper()
	r := n.do("PUT", path+"/code?create=true", n.admin, source)
	require.Contains(n.t, []int{200, 201}, r.status, r.body)
	var d client.Deployed
	r.json(n.t, &d)
	return d
}

// shop is a node with the app shop, its function hello, and a member per role.
type shop struct {
	*node
	viewer, developer, manager, owner, stranger string // tokens
}

func newShop(t *testing.T) shop {
	t.Helper()
	n := newNode(t)
	n.app("shop")
	n.deploy("/api/v1/apps/shop/functions/hello", hello)
	return shop{
		n, n.member("shop", "vera", picloud.RoleViewer), n.member("shop", "dave", picloud.RoleDeveloper),
		n.member("shop", "mary", picloud.RoleAdmin), n.member("shop", "olga", picloud.RoleOwner), n.user("stan"),
	}
}

// fakeAgent stands in for executors, fleet, runs and logs. Its compiler knows
// four words: BROKEN does not compile, LAZY has no handler, PANIC panics, SLOW
// takes its time.
type fakeAgent struct {
	mu       sync.Mutex
	complete bool  // what Await finds
	awaitErr error // what Await fails with
	waited   []string
	revs     []int64 // that were waited for, one for each of waited
	ready    error
	missing  []string
	sealErr  error
	drafted  picloud.Request
	source   string
	draftErr error
	runs     []picloud.Invocation
	records  []picloud.LogRecord
	feeds    []chan picloud.LogRecord
	query    picloud.LogQuery        // the last one
	ended    chan picloud.Invocation // calls that end while they are followed
	onFollow func()                  // called when somebody begins to follow calls; nil: nothing is
	followed chan struct{}           // gets a value per follower, if not nil
	slow     func()                  // what compiling SLOW takes
}

func (f *fakeAgent) Compile(_ context.Context, source []byte, name string) (picloud.Compiled, error) {
	text := string(source)
	switch {
	case strings.Contains(text, "PANIC"):
		panic("the compiler is a fake")
	case strings.Contains(text, "SLOW"):
		f.slow()
	case strings.Contains(text, "BROKEN"):
		before, _, _ := strings.Cut(text, "BROKEN")
		line := 1 + strings.Count(before, "\n")
		excerpt := strings.Split(text, "\n")[line-1]
		return picloud.Compiled{}, &picloud.Error{
			Code: picloud.CodeScript, Op: "compile", Resource: name,
			Script: &picloud.ScriptError{Line: line, Column: 1 + strings.Index(excerpt, "BROKEN"), Message: "unexpected BROKEN", Excerpt: excerpt},
		}
	case strings.Contains(text, "LAZY"):
		return picloud.Compiled{}, nil
	}
	return picloud.Compiled{Handlers: []string{"handle"}}, nil
}

func (f *fakeAgent) Draft(_ context.Context, _ picloud.Function, source []byte, _ time.Duration, req picloud.Request, net bool) (picloud.Response, []picloud.LogRecord, picloud.Effects, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drafted, f.source = req, string(source)
	logs := []picloud.LogRecord{{Level: "info", Message: "drafted", Function: "hello"}}
	if f.draftErr != nil {
		return picloud.Response{}, logs, picloud.Effects{}, f.draftErr
	}
	return picloud.Response{Status: 200, Header: http.Header{"X-Hi": {"1"}}, Body: req.Body}, logs, picloud.Effects{
		Writes:   []picloud.KeyWrite{{Key: "k", Op: picloud.WriteSet, Size: 3}},
		Requests: []picloud.OutboundRequest{{Method: "GET", URL: "https://a.example/", Sent: net}},
	}, nil
}

func (f *fakeAgent) Await(_ context.Context, rev int64, mode picloud.Wait) (picloud.Acks, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waited, f.revs = append(f.waited, string(mode)), append(f.revs, rev)
	if f.awaitErr != nil {
		return picloud.Acks{}, f.awaitErr
	}
	return picloud.Acks{Rev: rev, Nodes: []string{"pi-1"}, Complete: f.complete}, nil
}

func (f *fakeAgent) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ready
}

func (f *fakeAgent) Invocations(app string, functions []string, limit int, keep func(*picloud.Invocation) bool) (out []picloud.Invocation) {
	for _, r := range f.runs {
		if r.App == app && (len(functions) == 0 || slices.Contains(functions, r.Function)) && len(out) < limit && (keep == nil || keep(&r)) {
			out = append(out, r)
		}
	}
	return out
}

// Follow is that of the records of calls.
func (f fakeRuns) Follow(string, []string) func() ([]picloud.Invocation, int64) {
	if f.onFollow != nil {
		f.onFollow()
	}
	return func() (out []picloud.Invocation, missed int64) {
		select {
		case call := <-f.ended:
			return []picloud.Invocation{call}, 3
		default:
			return nil, 0
		}
	}
}

// fakeRuns are the records of calls of a fakeAgent, which has the logs too.
type fakeRuns struct{ *fakeAgent }

func (f *fakeAgent) Invocation(id string) (picloud.Invocation, bool) {
	for _, r := range f.runs {
		if r.ID == id {
			return r, true
		}
	}
	return picloud.Invocation{}, false
}

func (f *fakeAgent) Tail(_ context.Context, q picloud.LogQuery, _ func(int64) error) ([]picloud.LogLine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.query = q
	var out []picloud.LogLine
	for _, r := range f.records {
		if !r.Time.Before(q.Since) {
			out = append(out, lineOf(r))
		}
	}
	return out[max(0, len(out)-q.Limit):], nil
}

// lineOf is a record as the log holds it.
func lineOf(r picloud.LogRecord) picloud.LogLine {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return picloud.LogLine{LogPosition: picloud.LogPosition{Seq: r.Seq, Time: r.Time}, JSON: text}
}

func (f *fakeAgent) Follow(ctx context.Context, q picloud.LogQuery) (func(context.Context) ([]picloud.LogLine, error), error) {
	feed := make(chan picloud.LogRecord, 16)
	backlog, _ := f.Tail(ctx, q, nil)
	f.mu.Lock()
	f.feeds = append(f.feeds, feed)
	f.mu.Unlock()
	if f.followed != nil {
		f.followed <- struct{}{}
	}
	return func(ctx context.Context) ([]picloud.LogLine, error) {
		if out := backlog; len(out) > 0 {
			backlog = nil
			return out, nil
		}
		select {
		case r, more := <-feed:
			if !more {
				return nil, io.EOF
			}
			return []picloud.LogLine{lineOf(r)}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, nil
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
