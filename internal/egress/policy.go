package egress

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
)

// Policy says where a function may connect to. It is immutable; the nil policy
// allows nothing.
type Policy struct {
	names  []nameRule
	ranges []rangeRule
	key    string // equal for equal rules
}

type nameRule struct {
	name string // without "*."; empty: every name
	wild bool   // names below name only
	port uint16 // 0: any
}

type rangeRule struct {
	prefix  netip.Prefix
	private bool // the range has no public address, so it allows private ones
	port    uint16
}

// What the name localhost stands for in a rule. The rule opens these addresses, not the
// name: a resolver that answers with another address changes nothing.
var (
	loopback4 = netip.MustParsePrefix("127.0.0.1/32")
	loopback6 = netip.MustParsePrefix("::1/128")
)

// newPolicy compiles rules. Without rules it returns nil.
func newPolicy(rules []picloud.EgressRule) *Policy {
	if len(rules) == 0 {
		return nil
	}
	p := &Policy{}
	texts := make([]string, 0, len(rules))
	for _, r := range rules {
		texts = append(texts, r.String())
		port := uint16(r.Port)
		if r.Host == "" {
			if r.Prefix.IsValid() {
				p.ranges = append(p.ranges, rangeRule{r.Prefix.Masked(), private(r.Prefix), port})
			}
			continue
		}
		if r.Host == picloud.Localhost {
			p.ranges = append(p.ranges, rangeRule{loopback4, true, port}, rangeRule{loopback6, true, port})
			continue
		}
		name, wild := strings.CutPrefix(r.Host, "*.")
		if r.Host == "*" {
			name, wild = "", true
		}
		p.names = append(p.names, nameRule{name, wild, port})
	}
	slices.Sort(texts)
	p.key = strings.Join(slices.Compact(texts), " ")
	return p
}

// ParsePolicy compiles rules as settings write them. A text that is not a valid rule
// allows nothing; the check of the settings refuses such a text.
func ParsePolicy(rules []string) *Policy {
	var parsed []picloud.EgressRule
	for _, text := range rules {
		if r, err := picloud.ParseEgress(text); err == nil {
			parsed = append(parsed, r)
		}
	}
	return newPolicy(parsed)
}

// name reports whether a rule names the host.
func (p *Policy) name(host string, port uint16) bool {
	if p == nil {
		return false
	}
	return slices.ContainsFunc(p.names, func(r nameRule) bool {
		if r.port != 0 && r.port != port {
			return false
		}
		switch {
		case r.name == "":
			return true
		case r.wild:
			return len(host) > len(r.name)+1 && strings.HasSuffix(host, r.name) && host[len(host)-len(r.name)-1] == '.'
		}
		return host == r.name
	})
}

// every reports whether a rule is "*". That rule also allows public addresses
// without a name.
func (p *Policy) every(port uint16) bool {
	return p != nil && slices.ContainsFunc(p.names, func(r nameRule) bool {
		return r.name == "" && (r.port == 0 || r.port == port)
	})
}

// may reports whether a name is worth looking up: a rule names it, or the list
// has a range that could hold its addresses.
func (p *Policy) may(host string, port uint16) bool {
	return p.name(host, port) || (p != nil && slices.ContainsFunc(p.ranges, func(r rangeRule) bool {
		return r.port == 0 || r.port == port
	}))
}

// address reports whether a connection to the address is allowed; named says
// that a rule names the host that the address belongs to.
func (p *Policy) address(to netip.AddrPort, named bool) bool {
	if p == nil {
		return false
	}
	addr := plain(to.Addr())
	public := isPublic(addr)
	if named && public {
		return true
	}
	return slices.ContainsFunc(p.ranges, func(r rangeRule) bool {
		return (r.port == 0 || r.port == to.Port()) && (public || r.private) && r.prefix.Contains(addr)
	})
}

// suggest is the rule that would allow the host.
func suggest(host string, port uint16) string {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(port))
}
