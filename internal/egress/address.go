package egress

import "net/netip"

// closed lists the ranges that are not public: the ranges that IANA's
// special-purpose registries do not call globally reachable, multicast, and IPv6
// ranges that embed IPv4 addresses, since those can stand for any address. The list
// also excludes a few public anycast services in 192.0.0.0/24 and 2001::/23.
var closed = func() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8",       // this network; the address 0.0.0.0 is the machine itself
		"10.0.0.0/8",      // private
		"100.64.0.0/10",   // carrier-grade NAT
		"127.0.0.0/8",     // loopback
		"169.254.0.0/16",  // link-local, with the metadata services of clouds
		"172.16.0.0/12",   // private
		"192.0.0.0/24",    // protocol assignments
		"192.0.2.0/24",    // documentation
		"192.88.99.0/24",  // 6to4 relays, deprecated
		"192.168.0.0/16",  // private
		"198.18.0.0/15",   // benchmarks
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"224.0.0.0/4",     // multicast
		"240.0.0.0/4",     // reserved, and broadcast

		// Only 2000::/3 is global unicast. Outside of it are loopback,
		// unspecified, IPv4-mapped and -compatible, NAT64 (64:ff9b::/96 and
		// 64:ff9b:1::/48), discard-only, segment routing, ULA (fc00::/7),
		// link-local and multicast.
		"::/3", "4000::/2", "8000::/1",
		"2001::/23",     // protocol assignments: Teredo, benchmarks, ORCHID
		"2001:db8::/32", // documentation
		"2002::/16",     // 6to4
		"3fff::/20",     // documentation
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}()

// plain returns an address in the form for comparisons: without a zone. An
// IPv4-mapped address becomes the IPv4 address that the kernel connects to.
func plain(a netip.Addr) netip.Addr { return a.WithZone("").Unmap() }

// isPublic reports whether an address is globally reachable. An invalid address is
// not.
func isPublic(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	a = plain(a)
	for _, p := range closed {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// private reports whether a range has no public address at all.
func private(p netip.Prefix) bool {
	for _, c := range closed {
		if c.Bits() <= p.Bits() && c.Contains(p.Addr()) {
			return true
		}
	}
	return false
}
