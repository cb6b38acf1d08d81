package agent

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/dump"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/internal/postgres/backup"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/problem"
)

// What nodes ask one another about the database of the cluster.
const (
	pathDatabase = "/node/v1/database" // who runs it, as the node knows
	pathDumps    = "/node/v1/dumps"    // the dumps that the node keeps; a new one
	pathDump     = "/node/v1/dump"     // one of them

	// hostTime bounds the questions whether this node still runs the cluster's database.
	hostTime = 3 * time.Second
	// stall is how long the next part of a dump may take.
	stall = 30 * time.Second
)

// dumpsDir is the folder of the dumps that a node keeps.
func dumpsDir(dataDir string) string { return filepath.Join(dataDir, "dumps") }

// hostView is the database of the cluster as a node knows it.
type hostView struct {
	cluster.Moved
	Node    string `json:"node"`    // who says it
	Answers bool   `json:"answers"` // it runs here, and answers
	Reaches bool   `json:"reaches"` // the node reaches it, as far as it knows: elsewhere
	Leader  string `json:"leader"`  // whom Raft has elected; empty: not known
	// Voters are who elects, as the node's Raft knows.
	Voters []string `json:"voters"`
	// Revision and Epoch are the newest that the node knows.
	Revision int64 `json:"revision"`
	Epoch    int64 `json:"epoch"`
	// Postgres, Size and Since are of a database that runs here.
	Postgres string    `json:"postgres,omitempty"`
	Size     int64     `json:"size,omitempty"` // in bytes
	Since    time.Time `json:"since,omitzero"` // when the server was started
}

// view is what this node says of the database.
func (a *Agent) view(ctx context.Context) hostView {
	s := a.cluster.State()
	v := hostView{
		Moved: cluster.Moved{Host: s.Database.Host, Generation: s.Database.Generation, Removed: s.Removed},
		Node:  a.identity.ID, Revision: a.replica.Durable(), Epoch: a.election.epoch.Load(),
	}
	for _, m := range a.cluster.Members() {
		if m.Meta.Role == string(identity.Manager) {
			v.Epoch = max(v.Epoch, m.Meta.Epoch)
		}
	}
	v.Leader, v.Voters = a.election.known()
	if d := a.database; d.server == nil {
		v.Reaches = d.open.Load() && !d.Trouble()
	}
	if d := a.database; d.server != nil && v.Host == a.identity.ID && d.open.Load() && !a.superseded() {
		facts, err := d.Cluster().Server(ctx)
		v.Answers, v.Size, v.Since, v.Postgres = err == nil, facts.Size, facts.Since, facts.Version
		v.Revision = max(v.Revision, facts.Revision)
	}
	return v
}

// known returns whom Raft has elected, empty if that is not known, and who votes.
func (e *election) known() (leader string, voters []string) {
	e.mu.Lock()
	raft := e.raft
	e.mu.Unlock()
	if raft == nil {
		return "", nil
	}
	if lead, ok := raft.Leader(); ok {
		leader = lead.Node
	}
	for _, one := range raft.Status().Servers {
		if one.Voter {
			voters = append(voters, one.Node)
		}
	}
	return leader, voters
}

// superseded reports whether this node runs a database that is not the cluster's any more:
// it was brought up on another node meanwhile.
func (a *Agent) superseded() bool {
	s := a.cluster.State()
	return a.cluster.Removed() && s.Database.DSN == "" && s.Database.Host == a.identity.ID
}

// elsewhere tells a node that its database is not the cluster's any more.
func elsewhere(cluster string) error {
	return &picloud.Error{
		Code: picloud.CodeDatabaseElsewhere, Op: "use database", Resource: cluster,
		Detail: "the cluster's database was brought up on another node while this one was away; this node's own is none any more and stays as it is on the disk",
		Hint:   "keep a copy of the data folder if something in it is missed; `picloud node reset` empties it, and an invitation brings the node back",
	}
}

// mayHost asks the others, before this node starts its database, whether it is still the
// cluster's. It takes a moment at most: when nobody answers, the node is alone with the question.
// Everybody gets that moment, because those who were off themselves do not know either. A refusal
// says that the database is another one for good; who only knows a later one makes this node wait.
func (a *Agent) mayHost(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, hostTime)
	defer cancel()
	own := a.cluster.State().Database
	var later *hostView
	a.ofManagers(ctx, "", func(v hostView) bool {
		if v.Host != a.identity.ID && v.After(own) {
			later = &v
		}
		return a.superseded()
	})
	if a.superseded() {
		return elsewhere(a.cluster.State().Name)
	}
	if later != nil {
		return &picloud.Error{
			Code: picloud.CodeDatabaseDown, Op: "start database", Resource: a.cluster.State().Name,
			Detail: fmt.Sprintf("%s knows the database on %s, and that it is newer than this node's", a.nameOf(later.Node), a.nameOf(later.Host)),
			Hint:   "start " + a.nameOf(later.Host) + "; if it is lost, `picloud database restore` brings the database up on another node",
		}
	}
	return nil
}

// ofManagers asks nodes that may manage, but for one, about the database, until enough has
// been said.
func (a *Agent) ofManagers(ctx context.Context, but string, enough func(hostView) bool) {
	askManagers(ctx, a, but, pathDatabase, func(node string, v hostView) bool {
		v.Node = node
		return enough(v)
	})
}

// followDatabase looks whether the database of the cluster is on another node by now, and
// whether this node's own is none any more. The gossip is a hint: the node that it names is asked,
// and has to be one that may manage and says that it is the host itself.
func (a *Agent) followDatabase(ctx context.Context) {
	if a.superseded() {
		if d := a.database; d.server != nil && d.halted.Err() == nil {
			a.log.Error("this node's database stops", slog.Any("error", elsewhere(a.cluster.State().Name)))
			d.halt()
			a.election.end()
		}
		return
	}
	own := a.cluster.State().Database
	for _, m := range a.alive() {
		if !m.Meta.Hosts || !(cluster.Moved{Host: m.Node, Generation: m.Meta.Generation}).After(own) || own.DSN != "" {
			continue
		}
		if a.database.server != nil && own.Host == a.identity.ID {
			// The one that it names will refuse this node, if it is true.
			var v hostView
			err := askOver(ctx, hostTime, a.forwarder.transport, m.Node, http.MethodGet, pathDatabase, nil, &v)
			// Of two restores at the same time neither removed the other's node.
			if err == nil && v.Host == m.Node && v.Answers && v.Generation == own.Generation && v.After(own) {
				if err := a.cluster.Renounce(); err != nil {
					a.log.Error("the node cannot take down that its database is not the cluster's any more", slog.Any("error", err))
				}
			}
			continue
		}
		var v hostView
		if err := askOver(ctx, hostTime, a.forwarder.transport, m.Node, http.MethodGet, pathDatabase, nil, &v); err != nil || v.Host != m.Node || !v.Answers {
			continue
		}
		news, err := a.cluster.Follow(v.Moved)
		if err != nil {
			a.log.Error("the node cannot take down where the database is", slog.Any("error", err))
		}
		if news {
			a.sessions.end()
			a.database.Moved()
			select {
			case a.database.retry <- struct{}{}:
			default:
			}
			a.forwarder.closeIdle()
			a.database.syncer.Interrupted()
			a.membership.wake(true)
		}
	}
}

// sessions are those of this node with the database of another node.
type sessions struct {
	a    *Agent
	mu   sync.Mutex
	open map[*session]struct{}
}

type session struct {
	net.Conn
	of *sessions
}

// dial opens a session with the database where it is at this moment.
func (s *sessions) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, relayed)
	defer cancel()
	host := s.a.cluster.State().Database.Host
	conn, err := s.a.cluster.Dial(ctx, host, port.Database)
	if err != nil {
		return nil, err
	}
	one := &session{conn, s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.a.cluster.State().Database.Host != host { // it moved meanwhile, and end may have been called
		conn.Close()
		return nil, &picloud.Error{Code: picloud.CodeUnreached, Op: "reach database", Resource: host, Detail: "the database has moved to another node"}
	}
	if s.open == nil {
		s.open = map[*session]struct{}{}
	}
	s.open[one] = struct{}{}
	return one, nil
}

// end closes all of them: the database has moved.
func (s *sessions) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.open {
		one.Conn.Close()
	}
}

// Close implements net.Conn.
func (s *session) Close() error {
	s.of.mu.Lock()
	delete(s.of.open, s)
	s.of.mu.Unlock()
	return s.Conn.Close()
}

// dumpKeeper makes dumps of the database that this node runs; without one it is idle.
type dumpKeeper struct {
	mu     sync.Mutex
	keeper *dump.Keeper
}

// keepDumps begins to make dumps, if this node is a member that runs the database. Further
// calls do nothing.
func (a *Agent) keepDumps() {
	k := &a.dumps
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keeper != nil || !a.cluster.Member() || a.database.server == nil {
		return
	}
	k.keeper = a.newKeeper(a.database.server)
	k.keeper.Start()
}

func (a *Agent) newKeeper(server *managed.Server) *dump.Keeper {
	return dump.NewKeeper(dump.Options{
		Dir: dumpsDir(a.opts.DataDir), Source: source{a, server}, Peers: dumpPeers{a}, Revision: a.replica.Durable,
		Every: a.opts.DumpEvery, Logger: a.log,
	})
}

func (k *dumpKeeper) stop() {
	k.mu.Lock()
	keeper := k.keeper
	k.keeper = nil
	k.mu.Unlock()
	if keeper != nil {
		keeper.Stop()
	}
}

// source makes dumps of the server that this node runs.
type source struct {
	a      *Agent
	server *managed.Server
}

// Take implements dump.Source.
func (s source) Take(ctx context.Context, to io.Writer) (m dump.Manifest, err error) {
	if err := s.a.outcast(); err != nil {
		return m, err
	}
	f, err := backup.Take(ctx, s.server, to)
	return dump.Manifest{
		Cluster: f.Cluster, Incarnation: f.Incarnation, Generation: s.a.cluster.State().Database.Generation, Revision: f.Rev, TakenAt: f.TakenAt,
		By: s.a.cluster.Peer().Name, Postgres: f.Postgres, Migration: f.Migration,
	}, err
}

// dumpPeers are the other nodes that may manage, and are alive.
type dumpPeers struct{ a *Agent }

// Nodes implements dump.Peers. The order stays, so that the same nodes get the next dump.
func (p dumpPeers) Nodes() (out []string) {
	for _, m := range p.a.alive() {
		if m.Meta.Role == string(identity.Manager) {
			out = append(out, m.Node)
		}
	}
	slices.Sort(out)
	return out
}

// Name implements dump.Peers.
func (p dumpPeers) Name(node string) string { return p.a.nameOf(node) }

// Kept implements dump.Peers.
func (p dumpPeers) Kept(ctx context.Context, node string) (kept []dump.Manifest, err error) {
	err = p.a.ask(ctx, node, http.MethodGet, pathDumps, nil, &kept)
	return slices.DeleteFunc(kept, func(m dump.Manifest) bool { return m.Check() != nil }), err
}

// Send implements dump.Peers.
func (p dumpPeers) Send(ctx context.Context, node string, m dump.Manifest, from io.Reader) error {
	body, length, err := dump.Write(m, from)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+node+pathDumps, body)
	if err != nil {
		return fmt.Errorf("send dump: %w", err)
	}
	r.ContentLength = length
	resp, err := p.a.forwarder.patient.RoundTrip(r) // the node puts it on its disk before it answers
	if err != nil {
		return fmt.Errorf("send dump: %w", err)
	}
	defer resp.Body.Close()
	return answered(resp, node)
}

// serveDumps answers other nodes about the database. A dump holds the digests of people's
// tokens, and the secrets, sealed by the key that every member has: only nodes that may manage
// get one, or keep one.
func (a *Agent) serveDumps(mux *http.ServeMux) {
	store := dump.NewStore(dumpsDir(a.opts.DataDir))
	mux.HandleFunc("GET "+pathDatabase, func(w http.ResponseWriter, r *http.Request) { reply(w, a.view(r.Context()), nil) })
	mux.HandleFunc("GET "+pathDumps, a.managersOnly(func(w http.ResponseWriter, _ *http.Request, _ identity.Peer) { reply(w, store.List(), nil) }))
	mux.HandleFunc("POST "+pathDumps, a.managersOnly(func(w http.ResponseWriter, r *http.Request, _ identity.Peer) {
		a.dumps.mu.Lock()
		keeper := a.dumps.keeper
		a.dumps.mu.Unlock()
		if keeper == nil {
			reply(w, nil, &picloud.Error{Code: picloud.CodeConflict, Op: "dump database", Detail: "this node does not run the database of the cluster"})
			return
		}
		m, err := keeper.Now(r.Context())
		reply(w, m, err)
	}))
	mux.HandleFunc("PUT "+pathDumps, a.managersOnly(func(w http.ResponseWriter, r *http.Request, peer identity.Peer) {
		err := a.receive(store, w, r, peer)
		if err != nil {
			a.log.Warn("a dump of the database is not kept", slog.Any("error", err))
		}
		reply(w, struct{}{}, err)
	}))
	mux.HandleFunc("GET "+pathDump, a.managersOnly(func(w http.ResponseWriter, r *http.Request, _ identity.Peer) {
		sum := r.URL.Query().Get("sha256")
		for _, m := range store.List() {
			if m.SHA256 != sum {
				continue
			}
			file, err := store.Open(m)
			if err != nil {
				reply(w, nil, err)
				return
			}
			defer file.Close()
			if _, err := io.Copy(press(w), file); err != nil { // the other node sees it by the digest
				a.log.Info("a node did not take the dump that it asked for", slog.Any("error", err))
			}
			return
		}
		reply(w, nil, &picloud.Error{Code: picloud.CodeNotFound, Op: "send dump", Resource: picloud.Shorten(sum, 64), Detail: "this node does not keep it"})
	}))
}

// managersOnly answers nodes that may manage, on a node that may.
func (a *Agent) managersOnly(answer func(http.ResponseWriter, *http.Request, identity.Peer)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		peer, _ := r.Context().Value(peerKey{}).(identity.Peer)
		if peer.Role != identity.Manager || a.serves() {
			problem.Write(w, &picloud.Error{Code: picloud.CodeForbidden, Op: "keep dumps", Detail: "only nodes that may be the manager have dumps of the database"}, "")
			return
		}
		answer(w, r, peer)
	}
}

// receive keeps a dump that the node of the database sends.
func (a *Agent) receive(store *dump.Store, w http.ResponseWriter, r *http.Request, peer identity.Peer) error {
	if host := a.cluster.State().Database.Host; peer.Node != host {
		return &picloud.Error{Code: picloud.CodeForbidden, Op: "keep dump", Resource: peer.Name, Detail: "this node knows another one as that of the database"}
	}
	control := http.NewResponseController(w)
	m, body, err := dump.Read(&patient{r.Body, control})
	if err != nil {
		return err
	}
	if own := a.cluster.State(); m.Cluster != own.Cluster || m.Generation != own.Database.Generation {
		return &picloud.Error{Code: picloud.CodeInvalid, Op: "keep dump", Resource: peer.Name, Detail: "the dump is not of this cluster's database"}
	}
	if err := store.Receive(m, body); err != nil {
		return err
	}
	a.log.Info("this node keeps a dump of the database", slog.String("from", peer.Name), slog.Int64("revision", m.Revision), slog.Int64("bytes", m.Size))
	return control.SetReadDeadline(time.Time{})
}

// patient gives each part of a body its time.
type patient struct {
	io.Reader
	control *http.ResponseController
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.control.SetReadDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return p.Reader.Read(b)
}

// keptDumps are the dumps that this node and others which are alive keep, the newest first.
func (a *Agent) keptDumps(ctx context.Context) []picloud.Dump {
	out := []picloud.Dump{}
	if !a.cluster.Member() || a.cluster.State().Database.DSN != "" {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, hostTime)
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	peers := dumpPeers{a}
	for _, node := range peers.Nodes() {
		asking.Go(func() {
			if kept, err := peers.Kept(ctx, node); err == nil {
				mu.Lock()
				defer mu.Unlock()
				out = append(out, asDumps(peers.Name(node), kept)...)
			}
		})
	}
	asking.Wait()
	out = append(out, a.ownDumps()...)
	slices.SortFunc(out, func(a, b picloud.Dump) int {
		return cmp.Or(b.TakenAt.Compare(a.TakenAt), cmp.Compare(a.Node, b.Node))
	})
	return out
}

// ownDumps are the dumps that this node keeps.
func (a *Agent) ownDumps() []picloud.Dump {
	return asDumps(a.opts.NodeName, dump.NewStore(dumpsDir(a.opts.DataDir)).List())
}

func asDumps(node string, kept []dump.Manifest) []picloud.Dump {
	out := make([]picloud.Dump, 0, len(kept))
	for _, m := range kept {
		out = append(out, picloud.Dump{Node: node, TakenAt: m.TakenAt, Revision: m.Revision, Size: m.Size})
	}
	return out
}

// fetch gets a dump that another node keeps, into a file.
func (a *Agent) fetch(ctx context.Context, node string, m dump.Manifest, path string) error {
	body, err := put(ctx, a.forwarder.transport, node, http.MethodGet, pathDump+"?sha256="+url.QueryEscape(m.SHA256), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	return dump.Fetch(path, m, body)
}
