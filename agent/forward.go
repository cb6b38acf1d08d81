package agent

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/internal/problem"
	"github.com/picloud/picloud/internal/service"
)

const (
	// hopsHeader counts the nodes that a call has passed.
	hopsHeader = "X-PiCloud-Hops"
	// maxHops is how many nodes a call may pass on its way to the manager, which may
	// change meanwhile.
	maxHops = 3
	// managerLook is how often a call that waits for the manager looks whether the gossip
	// still hears it, and managerSilence how long it waits for one that is not heard and has
	// no successor.
	managerLook    = time.Second
	managerSilence = 15 * time.Second
	// leaderHeader names the manager in answers.
	leaderHeader = "X-PiCloud-Leader"
)

// leaderKey is where forward puts the manager's id for the proxy.
type leaderKey struct{}

// forwarder passes calls of the control API on to the manager.
type forwarder struct {
	transport *http.Transport // to nodes that may be the manager
	patient   *http.Transport // the same, for what takes long: the context bounds the wait for an answer
	members   *http.Transport // to any member: no call of a user goes there
	proxy     *httputil.ReverseProxy
}

// closeIdle closes the connections that nobody uses at this moment.
func (f *forwarder) closeIdle() {
	f.transport.CloseIdleConnections()
	f.patient.CloseIdleConnections()
	f.members.CloseIdleConnections()
}

// overRPC makes a transport to other nodes. The host of a URL is the node's id.
func (a *Agent) overRPC(accepts func(node string, peer identity.Peer) error) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			node, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			conn, err := a.cluster.Dial(ctx, node, port.RPC)
			if err != nil {
				return nil, err
			}
			if err := accepts(node, port.PeerOf(conn)); err != nil {
				conn.Close()
				return nil, err
			}
			return conn, nil
		},
		MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second, ResponseHeaderTimeout: 90 * time.Second,
	}
}

// newForwarder returns the node's forwarder. Connections to the manager are kept for some
// time; the host of a URL is the node's id.
func (a *Agent) newForwarder() *forwarder {
	transport := a.overRPC(func(node string, peer identity.Peer) error {
		if peer.Role != identity.Manager { // calls carry tokens, and answers are believed
			return noManager("node "+node+" serves functions only", nil)
		}
		return nil
	})
	patient := transport.Clone()
	patient.ResponseHeaderTimeout = 0
	members := a.overRPC(func(string, identity.Peer) error { return nil })
	return &forwarder{transport: transport, patient: patient, members: members, proxy: &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, // streams pass as they come
		Rewrite: func(r *httputil.ProxyRequest) {
			hops, _ := strconv.Atoi(r.In.Header.Get(hopsHeader)) // no number is none
			node, _ := r.In.Context().Value(leaderKey{}).(string)
			r.SetURL(&url.URL{Scheme: "http", Host: node})
			r.Out.Host = "localhost" // a name that every node has; this node has checked the caller's
			r.Out.Header.Del("Origin")
			r.Out.Header.Set(hopsHeader, strconv.Itoa(hops+1))
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set(picloud.FunctionsHeader, a.servesAt()) // the manager's answer has its own
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if outcast := a.outcast(); outcast != nil {
				problem.Write(w, outcast, "")
				return
			}
			if picloud.CodeOf(err) == picloud.CodeUnreached { // there was no connection
				w.Header().Set(picloud.NotSentHeader, "true")
			}
			problem.Write(w, a.silent(r, err), "")
		},
	}}
}

// forward passes a call on, unless this node is the manager. It reports whether it did.
func (a *Agent) forward(w http.ResponseWriter, r *http.Request) bool {
	if a.manages() {
		w.Header().Set(leaderHeader, a.opts.NodeName)
		return false
	}
	if hops, _ := strconv.Atoi(r.Header.Get(hopsHeader)); hops >= maxHops {
		w.Header().Set(picloud.NotSentHeader, "true")
		problem.Write(w, noManager("the nodes do not agree which of them is the manager", nil), "")
		return true
	}
	node, known := a.awaitLeader(r.Context())
	switch {
	case a.manages():
		w.Header().Set(leaderHeader, a.opts.NodeName)
		return false
	case !known && ofItself(r):
		return false
	case !known:
		err := a.database.closed() // the usual reason, where the database is this node's own
		if err == nil || a.database.server == nil {
			err = a.unmanaged()
		}
		problem.Write(w, err, "")
		return true
	}
	clear(w.Header()) // the manager's answer has its own
	ctx, end := a.whileHeard(r.Context(), node)
	defer end()
	a.forwarder.proxy.ServeHTTP(w, r.WithContext(context.WithValue(ctx, leaderKey{}, node)))
	return true
}

// whileHeard returns a context that ends when a node, which is the manager, has fallen silent
// and another one took its place, or when it is silent for long. The connection does not
// tell: where the way swallows all that is sent, it breaks after minutes only.
func (a *Agent) whileHeard(ctx context.Context, node string) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	look := service.Go(ctx, func(ctx context.Context) {
		tick := time.NewTicker(managerLook)
		defer tick.Stop()
		heard := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if a.present(node) {
				heard = time.Now()
				continue
			}
			if now, known := a.leader(); known && now != node || time.Since(heard) > managerSilence {
				cancel()
				return
			}
		}
	})
	return ctx, func() { cancel(); look.Stop() }
}

// servesAt is where this node serves functions, as seen from its machine.
func (a *Agent) servesAt() string {
	if bound, err := netip.ParseAddr(a.opts.ClusterBind); err == nil && !bound.IsUnspecified() && bound != netip.IPv6Loopback() && bound != netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
		return "http://" + netip.AddrPortFrom(bound, uint16(a.opts.HTTPPort)).String()
	}
	return a.opts.FunctionsURL()
}

// ofItself reports whether a node that finds no manager answers a call from what it knows
// itself: who the nodes are, and what is missing. Only the node that was asked does.
func ofItself(r *http.Request) bool {
	return r.Method == http.MethodGet && (r.URL.Path == "/api/v1/cluster" || r.URL.Path == "/api/v1/nodes") && r.Header.Get(hopsHeader) == ""
}

// Unmanaged says that this node answers of its own knowledge, because it finds no manager. It
// implements api.ClusterStater.
func (a *Agent) Unmanaged() (by, trouble, hint string) {
	if a.manages() {
		return "", "", ""
	}
	trouble, hint = a.absence()
	return a.opts.NodeName, trouble, hint
}

// unmanaged says that the cluster has no manager, what is missing and what to do.
func (a *Agent) unmanaged() error {
	detail, hint := a.absence()
	return &picloud.Error{Code: picloud.CodeNoManager, Detail: detail, Hint: hint, RetryAfter: 2 * time.Second}
}

// hostGone names the node that runs the database, if that does not answer because the node does
// not. A call need not wait for it.
func (a *Agent) hostGone() error {
	host := a.cluster.State().Database.Host
	if host == "" || a.present(host) || !a.database.Trouble() {
		return nil
	}
	detail, hint := a.absence()
	return &picloud.Error{Code: picloud.CodeDatabaseDown, Detail: detail, Hint: hint, RetryAfter: 2 * time.Second}
}

// silent says that the manager that a call was passed on to does not answer.
func (a *Agent) silent(r *http.Request, cause error) error {
	node, _ := r.Context().Value(leaderKey{}).(string)
	return &picloud.Error{
		Code: picloud.CodeNoManager, Err: cause, RetryAfter: 2 * time.Second,
		Detail: a.nameOf(node) + ", which manages the cluster, does not answer this node",
		Hint:   "functions are served; another node takes its place in a moment, if there is one that may: `picloud cluster status`",
	}
}

// nameOf is the name of a member.
func (a *Agent) nameOf(node string) string {
	for _, m := range a.cluster.State().Members {
		if m.Node == node {
			return m.Name
		}
	}
	if node == a.identity.ID {
		return a.opts.NodeName
	}
	return "node " + node
}

// absence says why the cluster has no manager, as far as this node knows, and what to do.
func (a *Agent) absence() (detail, hint string) {
	state, heard := a.cluster.State(), a.heardOf()
	gone := func(node string) bool { return node != a.identity.ID && !heard[node].Alive }
	since := func(nodes ...string) string {
		var last time.Time
		for _, node := range nodes {
			if at := heard[node].Since; at.After(last) {
				last = at
			}
		}
		if last.IsZero() {
			return ""
		}
		return " since " + last.Local().Format("15:04")
	}
	if host := state.Database.Host; host != "" && gone(host) {
		return a.nameOf(host) + ", which runs the database, does not answer" + since(host),
			"switch it on: changes wait for it, and functions are served; if it is lost for good, bring its database up elsewhere (docs/operate.md)"
	}
	var voters []string
	if raft := a.election.taking(); raft != nil {
		for _, s := range raft.Status().Servers {
			if s.Voter {
				voters = append(voters, s.Node)
			}
		}
	} else {
		for _, m := range state.Members {
			if m.Role == picloud.RoleManager {
				voters = append(voters, m.Node)
			}
		}
		if len(voters) > 0 && !slices.ContainsFunc(voters, func(node string) bool { return !gone(node) }) {
			return "none of the nodes that may manage answers this one: " + a.namesOf(voters) + since(voters...),
				"switch one of them on, or look at the network between them and this node"
		}
		voters = nil
	}
	var lost []string
	for _, node := range voters {
		if gone(node) {
			lost = append(lost, node)
		}
	}
	switch {
	case len(voters) > 1 && len(voters)-len(lost) <= len(voters)/2:
		return "no majority: " + a.namesOf(lost) + " of the voters " + a.namesOf(voters) + " do not answer" + since(lost...),
			"switch one of them on; if they are lost for good, run `picloud cluster recover` on this node's machine"
	case !a.database.answers():
		return "the database does not answer this node", "functions are served; `picloud doctor` says how this node reaches it"
	case len(lost) == 1 && len(voters) == 1:
		return a.nameOf(lost[0]) + ", which managed the cluster, does not answer" + since(lost...), "another node takes its place some 15 s after that; try again in a moment"
	}
	return "the nodes agree on a manager at this moment", "functions are served; try again in a moment"
}

// namesOf lists nodes for people.
func (a *Agent) namesOf(nodes []string) string {
	names := make([]string, 0, len(nodes))
	for _, node := range nodes {
		names = append(names, a.nameOf(node))
	}
	slices.Sort(names)
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
