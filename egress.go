package picloud

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// maxEgress bounds a function's list of rules.
const maxEgress = 100

// EgressRule says where a function may connect to. Exactly one of Host and
// Prefix is set.
type EgressRule struct {
	// Host is a name such as "api.example.org", or "*.example.org" for every
	// name below. It allows public addresses only. "*" is every host,
	// public addresses without a name included. "localhost" is 127.0.0.1
	// and ::1, whatever they are called.
	Host string
	// Prefix is a range of addresses. Private addresses, such as those of a
	// home network, are allowed only by a range that is private as a whole.
	Prefix netip.Prefix
	// Port is the only port allowed; 0: any.
	Port int
}

// Localhost is the one name in a rule that allows addresses of this machine.
const Localhost = "localhost"

var hostName = regexp.MustCompile(`^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ParseEgress reads a rule: a host name, "*.example.org", "*", an address or a
// CIDR range, each with or without ":port". An IPv6 address with a port stands
// in brackets.
func ParseEgress(s string) (EgressRule, error) {
	bad := func(why string) (EgressRule, error) {
		return EgressRule{}, &Error{
			Code: CodeInvalid, Op: "check egress rule", Detail: fmt.Sprintf("%q %s", Shorten(s, 80), why),
			Hint: `a rule is a host ("api.example.org", "*.example.org"), an address or a range ("192.168.1.0/24"), with ":port" if only that is meant`,
		}
	}
	if len(s) > 300 {
		return bad("is too long")
	}
	text, r := s, EgressRule{}
	if strings.Contains(text, "://") {
		return bad("is a URL; leave out the scheme and the path")
	}
	host, port, found := cutPort(text)
	if found {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return bad("has no valid port")
		}
		text, r.Port = host, n
	}
	bare := text
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		bare = text[1 : len(text)-1]
	}
	if addr, err := netip.ParseAddr(bare); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		r.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return r, nil
	}
	if strings.Contains(bare, "/") {
		prefix, err := netip.ParsePrefix(bare)
		if err != nil || prefix.Addr().Is4In6() {
			return bad("is not a range of addresses")
		}
		r.Prefix = prefix.Masked()
		return r, nil
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c > unicode.MaxASCII }) {
		return bad(`has letters beyond ASCII; write the name as DNS has it, with "xn--"`)
	}
	r.Host = strings.ToLower(strings.TrimSuffix(text, "."))
	if r.Host != "*" && (!hostName.MatchString(r.Host) || len(r.Host) > 253) {
		return bad("is not a host name")
	}
	last := r.Host[strings.LastIndexByte(r.Host, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		return bad("is neither an address nor a host name")
	}
	if last == Localhost && r.Host != Localhost {
		return bad("can only be this machine, and a name allows public addresses only; write " + EgressRule{Host: Localhost, Port: r.Port}.String())
	}
	return r, nil
}

// cutPort splits "host:port", "[::1]:port" and "10.0.0.0/8:port".
func cutPort(s string) (host, port string, found bool) {
	if strings.HasPrefix(s, "[") {
		if i := strings.LastIndex(s, "]:"); i > 0 {
			return s[:i+1], s[i+2:], true
		}
		return s, "", false
	}
	if strings.Count(s, ":") != 1 {
		return s, "", false // an IPv6 address, or no port
	}
	return strings.Cut(s, ":")
}

// String returns the rule as ParseEgress reads it.
func (r EgressRule) String() string {
	text := r.Host
	if text == "" {
		text = r.Prefix.String()
		if r.Prefix.IsSingleIP() {
			text = r.Prefix.Addr().String()
		}
		if r.Prefix.Addr().Is6() && r.Port != 0 {
			text = "[" + text + "]"
		}
	}
	if r.Port != 0 {
		text += ":" + strconv.Itoa(r.Port)
	}
	return text
}

func checkEgress(field string, rules []string) []FieldError {
	var out []FieldError
	if len(rules) > maxEgress {
		out = append(out, FieldError{field, fmt.Sprintf("must have at most %d rules", maxEgress)})
	}
	for _, text := range rules {
		if _, err := ParseEgress(text); err != nil {
			var e *Error
			errors.As(err, &e)
			out = append(out, FieldError{field, "has " + e.Detail})
		}
	}
	return out
}
