package agent

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/internal/problem"
)

const (
	// hopsHeader counts the nodes that a call has passed.
	hopsHeader = "X-PiCloud-Hops"
	// maxHops is how many nodes a call may pass on its way to the manager, which may
	// change meanwhile.
	maxHops = 3
	// leaderHeader names the manager in answers.
	leaderHeader = "X-PiCloud-Leader"
)

// leaderKey is where forward puts the manager's id for the proxy.
type leaderKey struct{}

// forwarder passes calls of the control API on to the manager.
type forwarder struct {
	transport *http.Transport // to nodes that may be the manager
	members   *http.Transport // to any member: no call of a user goes there
	proxy     *httputil.ReverseProxy
}

// closeIdle closes the connections that nobody uses at this moment.
func (f *forwarder) closeIdle() {
	f.transport.CloseIdleConnections()
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
	members := a.overRPC(func(string, identity.Peer) error { return nil })
	return &forwarder{transport: transport, members: members, proxy: &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, // streams pass as they come
		Rewrite: func(r *httputil.ProxyRequest) {
			hops, _ := strconv.Atoi(r.In.Header.Get(hopsHeader)) // no number is none
			node, _ := r.In.Context().Value(leaderKey{}).(string)
			r.SetURL(&url.URL{Scheme: "http", Host: node})
			r.Out.Host = "localhost" // a name that every node has; this node has checked the caller's
			r.Out.Header.Del("Origin")
			r.Out.Header.Set(hopsHeader, strconv.Itoa(hops+1))
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if outcast := a.outcast(); outcast != nil {
				problem.Write(w, outcast, "")
				return
			}
			if picloud.CodeOf(err) == picloud.CodeUnreached { // there was no connection
				w.Header().Set(picloud.NotSentHeader, "true")
			}
			problem.Write(w, noManager("the manager does not answer", err), "")
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
	case !known:
		err := a.database.closed() // the usual reason, where the database is this node's own
		if err == nil {
			err = noManager("the cluster has no manager at this moment", nil)
		}
		problem.Write(w, err, "")
		return true
	}
	clear(w.Header()) // the manager's answer has its own
	a.forwarder.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), leaderKey{}, node)))
	return true
}
