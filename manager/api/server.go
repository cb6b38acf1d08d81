// Package api is the control API on the wire: the operations of openapi.yaml,
// on top of the manager and of stores that it knows by the small interfaces
// beside each resource. It is an http.Handler and owns no goroutine.
//
// The operations come in areas, each with its stores: apps (with functions,
// versions and deployments), people, data, runs and nodes.
package api

//go:generate go run -C ../../tools ./openapijson ../manager/api/openapi.yaml ../manager/api/openapi.gen.json

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/picloud/picloud/internal/budget"
	"github.com/picloud/picloud/internal/origin"
	"github.com/picloud/picloud/internal/share"
	"github.com/picloud/picloud/internal/wiring"
	"github.com/picloud/picloud/manager"
)

// DefaultHeartbeat is how often a followed log shows that it is alive.
const DefaultHeartbeat = 15 * time.Second

const (
	// callTimeout bounds every call but a followed log.
	callTimeout = time.Minute
	// signInPatience bounds the wait of a call for its turn to have its token looked up.
	// A lookup takes milliseconds, so whoever waits longer waits for a database that hangs.
	signInPatience = 5 * time.Second
)

// Options are what the API works with. Those without a default are required.
type Options struct {
	// Manager deploys, tries drafts, seals secrets and makes tokens.
	Manager *manager.Manager
	Apps    AppStores
	People  PeopleStores
	Data    DataStores
	Runs    RunStores
	Nodes   NodeStores
	// Ready returns nil when the node can serve, else an error whose code says why not.
	Ready func() error
	// Missing lists the parts that a node which serves does without at this moment.
	// Default: none.
	Missing func() []string `default:"none"`
	// Forward passes a call of /api/v1 on to the manager, unless this node is the manager,
	// and reports whether it did. Default: this node is.
	Forward func(w http.ResponseWriter, r *http.Request) bool `default:"this node is the manager"`
	// Node is the name of this node, for X-PiCloud-Node.
	Node string
	// Functions is where this node serves functions, as seen from itself, for
	// X-PiCloud-Functions. Default: the answers do not say it.
	Functions string `default:"not said"`

	// Memory bounds the bodies and answers of calls over 64 KiB. Default: it is not bounded.
	Memory *budget.Budget `default:"no bound"`
	// metrics answers GET /metrics to loopback and to those with a token. Default: there is none.
	Metrics http.Handler `default:"none"`
	// Hosts are the names, besides those of the machine, under which the API is called.
	Hosts []string `default:"none"`
	// Heartbeat is how often a followed log sends a comment, and checks that its
	// reader may still read. Default 15 s.
	Heartbeat time.Duration
	// Logger gets failures with their causes. Default: discarded.
	Logger *slog.Logger `default:"discarded"`
}

// server is what all operations have in common.
type server struct {
	o   Options
	log *slog.Logger
	mux *http.ServeMux
	own *origin.Guard

	calls   *share.Places // of operations, by user; followed logs have their own
	signIns *share.Places // of tokens that are being looked up, by address
	// large are the calls whose bodies or answers are large: they have half of
	// Options.Memory, one after the other. Nil: it is not bounded.
	large *budget.Queue
}

// Nobody shuts out the others: neither a user with many calls, nor an address that
// tries tokens.
var (
	callShares   = share.Options{Total: 256, Each: []int{64}, Kept: 64}
	signInShares = share.Options{Total: 32, Each: []int{8}, Kept: 8, Waiting: 256, Queue: 1024}
)

// New returns the control API: /api/v1, /healthz, /readyz and /metrics.
//
// A call passes, from outside in: identify (request id, panics), guard (names of the
// node, pages of other origins), forward (to the manager), authenticate, route (404, 405), the operation (parameters, names, size, time, body), the
// handler.
func New(o Options) (http.Handler, error) {
	s, err := newServer(o)
	if err != nil {
		return nil, err
	}
	s.handle(operations(s.o))
	return s.identify(s.guard(s.forward(s.authenticate(http.HandlerFunc(s.route))))), nil
}

// newServer returns a server without operations.
func newServer(o Options) (*server, error) {
	if err := wiring.Check("new control API", o); err != nil {
		return nil, err
	}
	if o.Node == "" {
		return nil, errors.New("new control API: Options.Node is empty")
	}
	o.Heartbeat = cmp.Or(o.Heartbeat, DefaultHeartbeat)
	s := &server{
		o: o, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), mux: http.NewServeMux(),
		own: origin.NewGuard(o.Hosts...), calls: share.New(callShares), signIns: share.New(signInShares),
	}
	if o.Memory != nil {
		s.large = budget.NewQueue(o.Memory.Limit()/2, maxWaitingCalls)
	}
	return s, nil
}

// forward lets the manager answer, if it is another node. What a node says of itself it
// answers itself.
func (s *server) forward(next http.Handler) http.Handler {
	if s.o.Forward == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/v1/") && r.URL.Path != "/api/v1/openapi.json" {
			r.Header.Set("X-Request-Id", callOf(r.Context()).id)
			if s.o.Forward(w, r) {
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// operations lists the operations of openapi.yaml by area.
func operations(o Options) []operation {
	var all []operation
	for _, area := range [][]operation{
		apps{o.Apps, o.Manager}.operations(),
		people{o.People, o.Manager, o.Node}.operations(),
		data{o.Data, o.Apps.Apps, o.Manager}.operations(),
		runs{
			RunStores: o.Runs, apps: o.Apps.Apps, listed: o.Apps.Apps, functions: o.Apps.Functions, manager: o.Manager, node: o.Node, heartbeat: o.Heartbeat,
			followers: share.New(followerShares),
		}.operations(),
		nodes{o.Nodes, o.Ready, o.Missing}.operations(),
	} {
		all = append(all, area...)
	}
	return all
}
