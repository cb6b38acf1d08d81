package mdns

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"golang.org/x/net/dns/dnsmessage"
)

// The names that never change.
const (
	service  = "_picloud._tcp.local."
	services = "_services._dns-sd._udp.local." // the list of kinds of services
	domain   = ".local."
)

const (
	longestMessage = 9000    // RFC 6762, section 17
	maxRecords     = 256     // of one message
	maxQuestions   = 16      // of one message
	topBit         = 1 << 15 // of a class: "answer by unicast" in a question, "replaces what you know" in an answer
	lasting        = 120     // seconds that an answer may be kept
	lastingLegacy  = 10      // the same, for who asks from a port of its own
)

// question is what to ask.
type question []dnsmessage.Question

func hostQuestion(name string) question {
	n := dnsmessage.MustNewName(name)
	return question{
		{Name: n, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
		{Name: n, Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET},
	}
}

func serviceQuestion() question {
	return question{{Name: dnsmessage.MustNewName(service), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET}}
}

func (q question) pack(id uint16) ([]byte, error) {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id}, Questions: q}
	return m.Pack()
}

// fqdn is host in lower case with a last dot, if it can be a name at all.
func fqdn(host string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(host, ".")) + "."
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 {
			return "", fmt.Errorf("%q is not a host name", host)
		}
	}
	if len(name) > 254 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == unicode.ReplacementChar || !unicode.IsGraphic(r) }) {
		return "", fmt.Errorf("%q is not a host name", host)
	}
	return name, nil
}

// hostLabel makes a host name of a node's name: what is no letter, digit or hyphen
// becomes a hyphen. Empty: nothing is left.
func hostLabel(name string) string {
	label := strings.Map(func(r rune) rune {
		r = unicode.ToLower(r)
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
	return strings.Trim(label[:min(len(label), 63)], "-")
}

// printable is text without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

func newID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // it never fails
	return binary.BigEndian.Uint16(b[:])
}

// add reads an answer to the question of that id. zone is where it came from, for
// link-local addresses. It reports whether the message is one, and keeps what it
// can read of it: the parser follows no loop of compressed names.
func (a *answers) add(b []byte, id uint16, zone string) bool {
	if len(b) > longestMessage {
		return false
	}
	var p dnsmessage.Parser
	header, err := p.Start(b)
	if err != nil || !header.Response || header.ID != id && header.ID != 0 || header.RCode != dnsmessage.RCodeSuccess || header.OpCode != 0 {
		return false
	}
	for range maxQuestions {
		if err = p.SkipQuestion(); err != nil {
			break
		}
	}
	if !errors.Is(err, dnsmessage.ErrSectionDone) {
		return false
	}
	records := 0
	for _, section := range []struct {
		header func() (dnsmessage.ResourceHeader, error)
		skip   func() error
	}{{p.AnswerHeader, p.SkipAnswer}, {p.AuthorityHeader, p.SkipAuthority}, {p.AdditionalHeader, p.SkipAdditional}} {
		for {
			h, err := section.header()
			if errors.Is(err, dnsmessage.ErrSectionDone) {
				break
			}
			if records++; err != nil || records > maxRecords {
				return true
			}
			if !a.record(&p, h, zone) && section.skip() != nil {
				return true
			}
		}
	}
	return true
}

// record reads one record, or returns false for one that is to be skipped.
func (a *answers) record(p *dnsmessage.Parser, h dnsmessage.ResourceHeader, zone string) bool {
	if h.Class&^topBit != dnsmessage.ClassINET {
		return false
	}
	name := h.Name.String()
	key := strings.ToLower(name)
	ours := strings.HasSuffix(key, "."+service)
	switch {
	case h.Type == dnsmessage.TypeA:
		r, err := p.AResource()
		if err == nil {
			a.address(key, netip.AddrFrom4(r.A))
		}
		return err == nil
	case h.Type == dnsmessage.TypeAAAA:
		r, err := p.AAAAResource()
		if err == nil {
			address := netip.AddrFrom16(r.AAAA).Unmap()
			if address.IsLinkLocalUnicast() && address.Is6() {
				address = address.WithZone(zone)
			}
			a.address(key, address)
		}
		return err == nil
	case h.Type == dnsmessage.TypePTR && key == service:
		r, err := p.PTRResource()
		if err == nil && strings.HasSuffix(strings.ToLower(r.PTR.String()), "."+service) {
			if h.TTL == 0 {
				a.forget(r.PTR.String())
			} else {
				a.change(r.PTR.String(), func(*instance) {})
			}
		}
		return err == nil
	case h.Type == dnsmessage.TypeSRV && ours:
		r, err := p.SRVResource()
		if err == nil && h.TTL > 0 {
			if host, bad := fqdn(r.Target.String()); bad == nil {
				a.change(name, func(i *instance) { i.host, i.port = host, r.Port })
			}
		}
		return err == nil
	case h.Type == dnsmessage.TypeTXT && ours:
		r, err := p.TXTResource()
		if err == nil && h.TTL > 0 {
			for _, text := range r.TXT {
				if cluster, ok := strings.CutPrefix(text, "cluster="); ok {
					a.change(name, func(i *instance) { i.cluster = printable(cluster) })
				}
			}
		}
		return err == nil
	}
	return false
}
