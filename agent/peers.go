package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/quota"
	"github.com/picloud/picloud/agent/replica"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/cluster/gossip"
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

	pathCatalog = "/node/v1/catalog" // what this node serves, signed by one that may manage
	pathObjects = "/node/v1/objects" // the sources of functions

	// askTime bounds one question, and maxAsked its answer, in bytes.
	askTime  = 10 * time.Second
	maxAsked = 1 << 20
	// maxManagersAsked bounds how many nodes that may manage are asked the same at once.
	maxManagersAsked = 8
)

// peerKey is where a request of another node has its identity.Peer.
type peerKey struct{}

// nodeHandler answers other nodes.
func (a *Agent) nodeHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathRing, func(w http.ResponseWriter, r *http.Request) { reply(w, a.cluster.Ring(), nil) })
	mux.HandleFunc("POST "+pathAdmit, asked(a.admitFor))
	mux.HandleFunc("POST "+pathRenew, asked(a.renewFor))
	a.serveDumps(mux)
	// Each member may read all of this in the database, too.
	mux.HandleFunc("GET "+pathCatalog, a.handCatalog)
	mux.HandleFunc("POST "+pathObjects, a.handObjects)
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
	return askOver(ctx, askTime, a.forwarder.transport, node, method, path, question, into)
}

// who says which nodes there are, for the limits that hold over it.
func (a *Agent) who() (self string, v quota.View) {
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
	err = askOver(ctx, askTime, a.forwarder.members, node, http.MethodPost, pathLimit, q, &answer)
	return answer, err
}

// askOver asks another node.
func askOver(ctx context.Context, limit time.Duration, over *http.Transport, node, method, path string, question, into any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := put(ctx, over, node, method, path, question)
	if err != nil {
		return err
	}
	defer answer.Close()
	body, err := io.ReadAll(io.LimitReader(answer, maxAsked))
	if err != nil {
		return fmt.Errorf("ask node %s: %w", node, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("ask node %s: its answer cannot be read: %w", node, err)
	}
	return nil
}

// put puts a question to another node, and returns its answer, which may have any length.
func put(ctx context.Context, way http.RoundTripper, node, method, path string, question any) (io.ReadCloser, error) {
	raw, err := json.Marshal(question)
	if err != nil {
		return nil, fmt.Errorf("ask another node: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+node+path, bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("ask another node: %w", err)
	}
	resp, err := way.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("ask node %s: %w", node, err)
	}
	if err := answered(resp, node); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp.Body, nil
}

// answered reads the refusal of another node.
func answered(resp *http.Response, node string) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	var p problem.Problem
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAsked)).Decode(&p); err != nil || p.Code == "" {
		return fmt.Errorf("ask node %s: it answers %s", node, resp.Status)
	}
	return &picloud.Error{Code: p.Code, Op: "ask node", Resource: node, Detail: picloud.Shorten(p.Detail, 500), Hint: picloud.Shorten(p.Hint, 500)}
}

// askManagers asks nodes that may manage, but for one, all at once, until enough has been said.
func askManagers[A any](ctx context.Context, a *Agent, but, path string, enough func(node string, answer A) bool) {
	var nodes []string
	for _, m := range a.cluster.State().Members {
		if m.Role == picloud.RoleManager && m.Node != but && len(nodes) < maxManagersAsked {
			nodes = append(nodes, m.Node)
		}
	}
	type said struct {
		node   string
		answer A
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	got := make(chan said, len(nodes))
	for _, node := range nodes {
		asking.Go(func() {
			s := said{node: node}
			s.err = a.ask(ctx, node, http.MethodGet, path, nil, &s.answer)
			got <- s
		})
	}
	for range nodes {
		if s := <-got; s.err == nil && enough(s.node, s.answer) {
			return
		}
	}
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
	askManagers(ctx, a, "", pathRing, func(_ string, ring cluster.Ring) bool { return a.cluster.UseRing(ring) == nil })
}

// subjectCatalog is what nodes sign a catalog as.
const subjectCatalog = "catalog"

// keepCopy takes a newer catalog from another node while the database is away, and returns
// when to look again. The gossip says when there may be one.
func (a *Agent) keepCopy(ctx context.Context) time.Duration {
	d := a.database
	select {
	case <-a.settled:
	default:
		return memberEvery // the database comes first: its first attempt is under way
	}
	m := a.membership
	if d.open.Load() && !d.Trouble() {
		m.copied = time.Time{}
		return memberEvery
	}
	if wait := copyEvery - time.Since(m.copied); wait > 0 {
		return wait // a node that lies is asked no more often for that it says something new
	}
	took, again := a.replica.CatchUp(ctx, copies{a})
	switch {
	case took:
		return time.Second // another node may have a still later one
	case again:
		m.copied = time.Now()
		return copyEvery
	}
	return memberEvery
}

// copyEvery is how often a node that could not take the newer catalog of another one asks
// again.
const copyEvery = 5 * time.Second

// copies are the other nodes as those who may have a newer catalog. It implements
// replica.Peers.
type copies struct{ a *Agent }

// Newer lists the nodes that say they have a later revision: those that may sign it first,
// and of them those with the latest.
func (c copies) Newer(rev int64) (nodes []string) {
	members := slices.DeleteFunc(c.a.alive(), func(m gossip.Member) bool { return m.Meta.Rev <= rev })
	slices.SortFunc(members, func(x, y gossip.Member) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(y.Meta.Rev, x.Meta.Rev), cmp.Compare(x.Node, y.Node))
	})
	for _, m := range members {
		nodes = append(nodes, m.Node)
	}
	return nodes
}

// rank orders the nodes that can sign before the others.
func rank(m gossip.Member) int {
	if m.Meta.Role == string(identity.Manager) {
		return 0
	}
	return 1
}

// Copy asks a node for its catalog.
func (c copies) Copy(ctx context.Context, node string) (io.ReadCloser, error) {
	return put(ctx, c.a.forwarder.members, node, http.MethodGet, pathCatalog, nil)
}

// Objects asks a node for the sources of functions.
func (c copies) Objects(ctx context.Context, node string, digests []picloud.Digest) (io.ReadCloser, error) {
	return put(ctx, c.a.forwarder.members, node, http.MethodPost, pathObjects, digests)
}

// Verify checks who signed a catalog.
func (c copies) Verify(got *replica.Copy) error {
	return c.a.cluster.Verify(subjectCatalog, got.Catalog, identity.Signature{Certificate: got.Certificate, Signature: got.Signature})
}

// handCatalog gives another node what this one serves.
func (a *Agent) handCatalog(w http.ResponseWriter, _ *http.Request) {
	select {
	case a.membership.handing <- struct{}{}:
		defer func() { <-a.membership.handing }()
	default:
		problem.Write(w, &picloud.Error{Code: picloud.CodeUnreached, Op: "hand over the catalog", Detail: "this node hands it to others at this moment", RetryAfter: copyEvery}, "")
		return
	}
	raw, err := a.replica.Hand(func(catalog []byte) (certificate, signature []byte, ok bool) {
		s, ok := a.cluster.Sign(subjectCatalog, catalog)
		return s.Certificate, s.Signature, ok
	})
	if err != nil {
		problem.Write(w, &picloud.Error{Code: picloud.CodeNotFound, Op: "hand over the catalog", Detail: err.Error()}, "")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if _, err := press(w).Write(raw); err != nil {
		a.log.Debug("a node did not take the catalog that it asked for", slog.Any("error", err))
	}
}

// pressed writes an answer to another node, and fails when that one takes nothing for a
// while: who stops reading must not hold a connection, a file and a goroutine for ever.
type pressed struct {
	to       io.Writer
	deadline func(time.Time) error
	patience time.Duration
}

func press(w http.ResponseWriter) pressed {
	return pressed{w, http.NewResponseController(w).SetWriteDeadline, askTime}
}

// Write implements io.Writer.
func (p pressed) Write(b []byte) (int, error) {
	if err := p.deadline(time.Now().Add(p.patience)); err != nil {
		return 0, fmt.Errorf("answer another node: %w", err)
	}
	return p.to.Write(b)
}

// handObjects gives another node the sources that it asks for.
func (a *Agent) handObjects(w http.ResponseWriter, r *http.Request) {
	var digests []picloud.Digest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxDigests)).Decode(&digests); err != nil {
		problem.Write(w, &picloud.Error{Code: picloud.CodeInvalid, Op: "hand over sources", Detail: "the question cannot be read"}, "")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := a.replica.WriteObjects(press(w), digests); errors.Is(err, replica.ErrNoCopy) {
		problem.Write(w, &picloud.Error{Code: picloud.CodeNotFound, Op: "hand over sources", Detail: err.Error()}, "")
	} else if err != nil {
		a.log.Debug("a node did not take the sources that it asked for", slog.Any("error", err))
	}
}

// maxDigests bounds a question for sources, in bytes: it names 64 of them.
const maxDigests = 16 << 10
