package agent

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/invoke"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/internal/machine"
	"github.com/picloud/picloud/internal/problem"
	"github.com/picloud/picloud/manager/api"
	"github.com/picloud/picloud/manager/top"
)

// nodePath is where a node answers the managers of its cluster what it remembers. The
// control listener does not have it.
const nodePath = "/node/v1/"

// others reaches the other nodes of the cluster for the API.
type others struct{ a *Agent }

// Others lists the other members, and whether the gossip holds them for alive.
func (o others) Others() (out []api.Other) {
	if !o.a.cluster.Member() {
		return nil
	}
	alive := map[string]bool{}
	for _, m := range o.a.cluster.Members() {
		alive[m.Node] = m.Alive
	}
	for _, m := range o.a.cluster.State().Members {
		if m.Node != o.a.identity.ID {
			out = append(out, api.Other{ID: m.Node, Name: m.Name, Alive: alive[m.Node]})
		}
	}
	slices.SortFunc(out, func(a, b api.Other) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Get asks another node over the cluster port.
func (o others) Get(ctx context.Context, node, user, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+node+nodePath+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set(api.UserHeader, user)
	return o.a.forwarder.members.RoundTrip(r)
}

// withPeer puts into the context who is at the other end of a connection.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, port.PeerOf(conn))
}

// serveOther answers another node. What the node remembers is for those that may be the
// manager, which checks the rights of whoever asks; the rest is passed on to the control
// API, which checks them itself.
func (a *Agent) serveOther(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, nodePath) {
		a.ServeControl(w, r, http.NotFoundHandler())
		return
	}
	peer, _ := r.Context().Value(peerKey{}).(identity.Peer)
	control := a.control.Load()
	switch {
	case peer.Role != identity.Manager:
		problem.Write(w, &picloud.Error{Code: picloud.CodeForbidden, Op: "ask node", Detail: "only nodes that may be the manager are answered"}, "")
	case r.URL.Path == nodePath+"load":
		a.serveLoad(w)
	case control == nil:
		problem.Write(w, a.Unready(), "")
	default:
		control.nodes.ServeHTTP(w, r)
	}
}

// presentNodes are the nodes of the database, with what is known of them at this moment.
type presentNodes struct {
	api.NodeStore
	a *Agent
}

// loadPatience is how long another node may take to say what it does.
const loadPatience = time.Second

// nodeLoad is what a node says of its load.
type nodeLoad struct {
	Running int `json:"running"`
}

// List implements api.NodeStore. A node that finds no manager lists what it knows itself.
func (p presentNodes) List(ctx context.Context) ([]picloud.Node, error) {
	if !p.a.manages() {
		_, nodes := p.a.Seen()
		return nodes, nil
	}
	nodes, err := p.NodeStore.List(ctx)
	if err != nil {
		return nil, err
	}
	head := p.a.replica.Durable()
	for _, n := range nodes {
		head = max(head, n.Rev)
	}
	away := map[string]bool{}
	for _, o := range (others{p.a}).Others() {
		away[o.ID] = !o.Alive
	}
	var state picloud.ClusterState
	p.a.election.seats(&state, map[string]string{})
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	var asked sync.WaitGroup
	for i := range nodes {
		n := &nodes[i]
		n.Lag, n.Away = head-n.Rev, away[n.ID]
		n.Manager, n.Seat = n.ID == p.a.identity.ID && p.a.manages(), seatOf(state, n.ID)
		switch _, other := away[n.ID]; {
		case n.ID == p.a.identity.ID:
			running := p.a.invoker.Running()
			n.Running = &running
		case other && !n.Away:
			asked.Go(func() { n.Running = p.running(ctx, n.ID) })
		}
	}
	asked.Wait()
	return nodes, nil
}

// running asks another node how many calls it has; nil: it did not answer.
func (p presentNodes) running(ctx context.Context, node string) *int {
	resp, err := others{p.a}.Get(ctx, node, "", "load")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var load nodeLoad
	if resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(resp.Body, 1<<10)).Decode(&load) != nil {
		return nil
	}
	return &load.Running
}

// serveLoad says how many calls run or wait here.
func (a *Agent) serveLoad(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(nodeLoad{a.invoker.Running()}) // a node that went away asks nothing more
}

// meter reads what this node has counted, for the API.
type meter struct{ a *Agent }

// Sample implements api.Meter.
func (m meter) Sample(apps []string) top.Sample {
	a := m.a
	load, available := machine.Load()
	executors, reserved := a.executor.Workers()
	s := top.Sample{
		At: time.Now(), Bounds: invoke.Bounds(), Functions: map[picloud.RouteKey]top.Counters{},
		Machine: top.Machine{
			Load: load, Cores: runtime.NumCPU(), Memory: machine.Memory(), Available: available,
			Executors: executors, Reserved: reserved, Running: a.invoker.Running(),
		},
	}
	state := a.replica.State()
	if state == nil {
		return s // it serves nothing yet
	}
	for key := range state.Routes {
		if len(apps) > 0 && !slices.Contains(apps, key.App) {
			continue
		}
		endpoint := a.gateway.Endpoint(key)
		if endpoint == nil {
			continue // a deploy is on its way
		}
		c := endpoint.Function().Counts()
		running, waiting := endpoint.Function().Handle().Load()
		s.Functions[key] = top.Counters{Calls: c.Calls, Errors: c.Errors, Seconds: c.Seconds, Buckets: c.Buckets, Running: running, Waiting: waiting}
	}
	return s
}
