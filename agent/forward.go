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

// forwarder passes calls of the control API on to the manager.
type forwarder struct {
	transport *http.Transport // to the cluster port of other nodes
	proxy     *httputil.ReverseProxy
}

// newForwarder returns the node's forwarder. Connections to the manager are kept for some
// time; the host of a URL is the node's id.
func (a *Agent) newForwarder() *forwarder {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			node, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return a.cluster.Dial(ctx, node, port.RPC)
		},
		MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second, ResponseHeaderTimeout: 90 * time.Second,
	}
	return &forwarder{transport: transport, proxy: &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, // streams pass as they come
		Rewrite: func(r *httputil.ProxyRequest) {
			hops, _ := strconv.Atoi(r.In.Header.Get(hopsHeader)) // no number is none
			r.SetURL(&url.URL{Scheme: "http", Host: a.cluster.State().Manager})
			r.Out.Host = "localhost" // a name that every node has; this node has checked the caller's
			r.Out.Header.Del("Origin")
			r.Out.Header.Set(hopsHeader, strconv.Itoa(hops+1))
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
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
	for name := range w.Header() {
		w.Header().Del(name) // the manager's answer has its own
	}
	a.forwarder.proxy.ServeHTTP(w, r)
	return true
}
