package gossip

import (
	"context"
	"net"
	"net/netip"
	"slices"
)

// ownAddress is the address to advertise now. An address that was chosen before
// is kept for as long as this machine has it, so that a machine with several does
// not change between them. A name to advertise is resolved only if ask is true.
func (g *Gossip) ownAddress(ctx context.Context, ask bool) netip.Addr {
	if g.opts.Advertise != "" {
		host := g.opts.Advertise
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if address, err := netip.ParseAddr(host); err == nil {
			return address.Unmap()
		}
		if !ask && g.address.IsValid() {
			return g.address
		}
		found, _ := g.opts.Resolve(ctx, host)
		found = slices.DeleteFunc(slices.Clone(found), func(a netip.Addr) bool { return a.IsUnspecified() || a.IsMulticast() })
		if slices.Contains(found, g.address) {
			return g.address
		}
		if len(found) > 0 {
			return found[0].Unmap()
		}
		if g.address.IsValid() {
			return g.address // the name is not found at the moment
		}
	}
	if bound, err := netip.ParseAddr(g.opts.Bind); err == nil && !bound.IsUnspecified() {
		return bound.Unmap()
	}
	return chooseAddress(g.address, machineAddresses(), g.opts.Known())
}

// endpoint is address with the port of gossip.
func (g *Gossip) endpoint(address netip.Addr) netip.AddrPort {
	return netip.AddrPortFrom(address.Unmap(), uint16(g.opts.Port))
}

// chooseAddress picks one of a machine's addresses: the present one if it is still
// there; else the one from which it reaches a known peer; else the best guess.
func chooseAddress(present netip.Addr, machine []netip.Addr, known []string) netip.Addr {
	useful := func(a netip.Addr) bool { return a.IsValid() && !a.IsLoopback() && !a.IsLinkLocalUnicast() }
	if useful(present) && slices.Contains(machine, present) {
		return present
	}
	for _, peer := range known[:min(len(known), joinsOnce)] {
		if source, ok := sourceFor(peer); ok {
			return source
		}
	}
	for _, fits := range []func(netip.Addr) bool{
		func(a netip.Addr) bool { return useful(a) && a.Is4() && a.IsPrivate() },
		func(a netip.Addr) bool { return useful(a) && a.Is4() },
		useful,
	} {
		if i := slices.IndexFunc(machine, fits); i >= 0 {
			return machine[i]
		}
	}
	if present.IsValid() {
		return present // the network is away: it may come back as it was
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// sourceFor asks the kernel from which address it would send to peer, an IP
// address with a port. No packet is sent.
func sourceFor(peer string) (netip.Addr, bool) {
	to, err := netip.ParseAddrPort(peer)
	if err != nil {
		return netip.Addr{}, false
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}, false
	}
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if err := conn.Close(); err != nil || !ok {
		return netip.Addr{}, false
	}
	address := local.AddrPort().Addr().Unmap().WithZone("")
	return address, address.IsValid() && !address.IsUnspecified()
}

// machineAddresses are the unicast addresses of this machine.
func machineAddresses() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var found []netip.Addr
	for _, a := range list {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			found = append(found, prefix.Addr().Unmap())
		}
	}
	return found
}

// lookup asks the resolver of the system.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
