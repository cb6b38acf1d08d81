// Package origin keeps web pages away from a listener that is not meant for them. A
// page can send requests to every address that its browser reaches. With a name whose
// address it changes (DNS rebinding) it can read the answers too: the browser takes
// them for the page's own.
package origin

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/picloud/picloud"
)

// Guard knows the names of a listener.
type Guard struct {
	names []string // in lower case
	cross *http.CrossOriginProtection
}

// NewGuard returns a guard for a listener that goes by the given names, besides
// localhost, its addresses and the name of the machine. Empty names are left out.
func NewGuard(names ...string) *Guard {
	g := &Guard{cross: http.NewCrossOriginProtection()}
	machine, _ := os.Hostname()
	short, _, _ := strings.Cut(machine, ".")
	for _, name := range append([]string{"localhost", machine, short}, names...) {
		if name = clean(name); name != "" {
			g.names = append(g.names, name)
		}
	}
	return g
}

// Check refuses a request for a name that is none of the listener's, and a change that
// a page of another origin asks for. Over TLS the certificate has proved the name.
func (g *Guard) Check(r *http.Request) error {
	if r.Host != "" && !g.serves(r) {
		return &picloud.Error{
			Code: picloud.CodeForeignHost, Detail: "the request is for the host " + picloud.Shorten(r.Host, 100) + ", which is no name of this node",
			Hint: "use localhost, an address of the node or NAME.local; for another name set control_hosts",
		}
	}
	if err := g.cross.Check(r); err != nil {
		return &picloud.Error{
			Code: picloud.CodeForeignOrigin, Detail: "a page of " + picloud.Shorten(cmp.Or(r.Header.Get("Origin"), "another site"), 100) + " may not change anything here",
			Hint: "call the API from a program, or from a page of the node itself",
		}
	}
	return nil
}

func (g *Guard) serves(r *http.Request) bool {
	name := clean(r.Host)
	if r.TLS != nil && r.TLS.ServerName != "" && clean(r.TLS.ServerName) == name {
		return true
	}
	if slices.Contains(g.names, name) || strings.HasSuffix(name, ".localhost") {
		return true
	}
	address, err := netip.ParseAddr(name)
	return err == nil && own(r, address.Unmap().WithZone(""))
}

// own reports whether the address is one of this machine. The address that the
// connection came to is the cheapest to know.
func own(r *http.Request, address netip.Addr) bool {
	if address.IsLoopback() {
		return true
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if at, err := netip.ParseAddrPort(local.String()); err == nil && at.Addr().Unmap().WithZone("") == address {
			return true
		}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap().WithZone("") == address
	})
}

// clean is a host as names are compared: without port, brackets and the final dot.
func clean(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
