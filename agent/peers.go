package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/quota"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/internal/problem"
)

// What nodes ask one another, beside the control API. The paths are served on the cluster
// port only.
const (
	pathRing  = "/node/v1/ring"  // the keys of the gossip
	pathAdmit = "/node/v1/admit" // a request to join that a node which only serves got
	pathRenew = "/node/v1/renew" // the next certificate
	pathLimit = "/node/v1/limit" // a part of the limits that this node keeps

	// askTime bounds one question, and maxAsked its answer, in bytes.
	askTime  = 10 * time.Second
	maxAsked = 1 << 20
)

// peerKey is where a request of another node has its identity.Peer.
type peerKey struct{}

// nodeHandler answers other nodes.
func (a *Agent) nodeHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathRing, func(w http.ResponseWriter, r *http.Request) { reply(w, a.cluster.Ring(), nil) })
	mux.HandleFunc("POST "+pathAdmit, asked(a.admitFor))
	mux.HandleFunc("POST "+pathRenew, asked(a.renewFor))
	mux.HandleFunc("POST "+pathLimit, asked(func(_ context.Context, peer identity.Peer, q quota.Ask) (quota.Answer, error) {
		return a.quota.Answer(peer.Node, q), nil
	}))
	mux.HandleFunc("/", a.serveOther)
	return mux
}

// asked answers a question in JSON of another node.
func asked[Q, A any](answer func(ctx context.Context, peer identity.Peer, q Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		peer, _ := r.Context().Value(peerKey{}).(identity.Peer)
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAsked)).Decode(&q); err != nil || peer.Node == "" {
			problem.Write(w, &picloud.Error{Code: picloud.CodeInvalid, Op: "answer another node", Detail: "the question cannot be read"}, "")
			return
		}
		got, err := answer(r.Context(), peer, q)
		reply(w, got, err)
	}
}

func reply(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		problem.Write(w, err, "")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the other node has gone
}

// ask asks another node, which may be the manager: its certificate says so. An error of it
// comes back as one.
func (a *Agent) ask(ctx context.Context, node, method, path string, question, into any) error {
	return askOver(ctx, a.forwarder.transport, node, method, path, question, into)
}

// view is who is in the cluster, for the limits that hold over it.
func (a *Agent) view() (self string, v quota.View) {
	self = a.identity.ID
	v.Members, v.Alive = []string{self}, []string{self}
	for _, o := range (others{a}).Others() {
		v.Members = append(v.Members, o.ID)
		if o.Alive {
			v.Alive = append(v.Alive, o.ID)
		}
	}
	slices.Sort(v.Members)
	slices.Sort(v.Alive)
	return self, v
}

// askKeeper asks the node that keeps the limits of functions, which may be any member.
func (a *Agent) askKeeper(ctx context.Context, node string, q quota.Ask) (answer quota.Answer, err error) {
	err = askOver(ctx, a.forwarder.members, node, http.MethodPost, pathLimit, q, &answer)
	return answer, err
}

// askOver asks another node.
func askOver(ctx context.Context, over *http.Transport, node, method, path string, question, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	raw, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("ask another node: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+node+path, bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("ask another node: %w", err)
	}
	resp, err := over.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("ask node %s: %w", node, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAsked))
	if err != nil {
		return fmt.Errorf("ask node %s: %w", node, err)
	}
	if resp.StatusCode != http.StatusOK {
		var p problem.Problem
		if err := json.Unmarshal(body, &p); err != nil || p.Code == "" {
			return fmt.Errorf("ask node %s: it answers %s", node, resp.Status)
		}
		return &picloud.Error{Code: p.Code, Op: "ask node", Resource: node, Detail: picloud.Shorten(p.Detail, 500), Hint: picloud.Shorten(p.Hint, 500)}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("ask node %s: its answer cannot be read: %w", node, err)
	}
	return nil
}

// admission is a request to join with the address that it came from.
type admission struct {
	Request join.Request `json:"request"`
	From    netip.Addr   `json:"from"`
}

// admitElsewhere passes a request to join on to the manager: this node cannot sign. The new
// member finds both of them.
func (a *Agent) admitElsewhere(ctx context.Context, r join.Request, from netip.Addr) (answer join.Answer, err error) {
	manager, known := a.awaitLeader(ctx)
	if !known {
		return answer, noManager("only it can let new nodes in", nil)
	}
	if err := a.ask(ctx, manager, http.MethodPost, pathAdmit, admission{r, from}, &answer); err != nil {
		if _, ok := errors.AsType[*picloud.Error](err); ok && !errors.Is(err, picloud.ErrUnavailable) {
			return answer, err
		}
		return answer, noManager("only it can let new nodes in", err)
	}
	answer.Self = a.identity.ID
	answer.Members = append(slices.DeleteFunc(answer.Members, func(m join.Member) bool { return m.Node == a.identity.ID }), a.asMember())
	return answer, nil
}

// admitFor decides about a request to join that another member got.
func (a *Agent) admitFor(ctx context.Context, _ identity.Peer, q admission) (join.Answer, error) {
	if a.serves() {
		return join.Answer{}, noManager("this node serves functions only", nil)
	}
	return a.admit(ctx, q.Request, q.From)
}

// renewal asks for the next certificate of the node that sends it.
type renewal struct {
	CSR []byte `json:"csr"`
}

// renewed is the next certificate of a node, with the roots of the cluster.
type renewed struct {
	Certificate []byte `json:"certificate"`
	Roots       []byte `json:"roots"`
}

// renewFor signs the next certificate of a member.
func (a *Agent) renewFor(ctx context.Context, peer identity.Peer, q renewal) (out renewed, err error) {
	if a.serves() {
		return out, noManager("this node serves functions only", nil)
	}
	members, err := a.database.Cluster().Members(ctx)
	if err != nil {
		return out, err
	}
	for _, m := range members {
		if m.ID != peer.Node || m.Removed {
			continue
		}
		authority, _, err := a.authority(ctx)
		if err != nil {
			return out, err
		}
		leaf, err := authority.Sign(identity.Request{Node: m.ID, Name: m.Name, Role: identity.Role(m.Role), CSR: q.CSR}, a.cluster.Now())
		return renewed{Certificate: leaf, Roots: a.cluster.RootsPEM()}, err
	}
	return out, &picloud.Error{Code: picloud.CodeNotInvited, Op: "renew certificate", Resource: peer.Name, Detail: "the node is no member any more"}
}

// catchUp gets the present keys of the gossip from nodes that may manage. It returns
// when one has answered.
func (a *Agent) catchUp(ctx context.Context) {
	var nodes []string
	for _, m := range a.cluster.State().Members {
		if m.Role == picloud.RoleManager && len(nodes) < 8 {
			nodes = append(nodes, m.Node)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	got := make(chan bool, len(nodes))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for _, node := range nodes {
		asking.Go(func() {
			var ring cluster.Ring
			err := a.ask(ctx, node, http.MethodGet, pathRing, nil, &ring)
			if err == nil {
				err = a.cluster.UseRing(ring)
			}
			got <- err == nil
		})
	}
	for range nodes {
		if <-got {
			return
		}
	}
}
