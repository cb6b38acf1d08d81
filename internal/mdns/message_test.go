package mdns

import (
	"net/netip"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

func node(t testing.TB) *Announcer {
	a, err := New(Options{Name: "pi-1", Port: 7947, Cluster: "home"})
	require.NoError(t, err)
	return a
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	all := &answers{}
	for i := range 2 * maxPeers {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, Response: true}}
		name := dnsmessage.MustNewName("n" + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + "." + service)
		for j := range 2 * maxAddresses {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{10, 0, 0, byte(j + 1)}},
			}, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 1}, Body: &dnsmessage.SRVResource{Target: name, Port: 1},
			})
		}
		b, err := m.Pack()
		require.NoError(t, err)
		require.True(t, all.add(b, 7, ""))
	}
	require.Len(t, all.instances, maxPeers)
	require.Len(t, all.hosts, maxPeers)
	require.Len(t, all.peers(), maxPeers)
	for _, list := range all.hosts {
		require.LessOrEqual(t, len(list), maxAddresses)
	}
}

func TestGoodbyeForgets(t *testing.T) {
	t.Parallel()
	a := node(t)
	all := &answers{}
	for ttl, peers := range map[uint32]int{0: 0, 60: 1} {
		b, err := a.records.pack(reply{ttl: ttl, wanted: everything, addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("fe80::1/64")}})
		require.NoError(t, err)
		require.True(t, all.add(b, 99, "eth0"), "an answer to the group has the id 0")
		require.Len(t, all.peers(), peers)
		if peers > 0 {
			require.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("fe80::1%eth0")}, all.peers()[0].Addresses)
		}
		*all = answers{}
		require.True(t, all.add(b, 99, ""))
		require.Len(t, all.hosts["pi-1.local."], 1, "a link-local address without its interface leads nowhere")
		*all = answers{}
	}
}

func FuzzAnswers(f *testing.F) {
	a := node(f)
	b, err := a.records.pack(reply{id: 7, ttl: 9, wanted: everything | wantServices, questions: serviceQuestion(), addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::1/64")}})
	require.NoError(f, err)
	f.Add(b)
	for _, one := range hostile(append([]byte{0, 7}, make([]byte, 10)...)) {
		f.Add(one)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all := &answers{}
		if !all.add(b, 7, "eth0") {
			require.Empty(t, all.hosts)
			require.Empty(t, all.instances)
		}
		require.LessOrEqual(t, len(all.instances), maxRecords)
		for _, p := range all.peers() {
			require.NotZero(t, p.Port)
			require.False(t, strings.ContainsFunc(p.Name+p.Cluster+p.Host, func(r rune) bool { return !unicode.IsGraphic(r) }), p)
			_, err := fqdn(p.Host)
			require.NoError(t, err)
		}
	})
}

func FuzzQuestions(f *testing.F) {
	for _, q := range []question{serviceQuestion(), hostQuestion("pi-1.local.")} {
		b, err := q.pack(7)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte{0, 7, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 12, 0, 1})
	a := node(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		asked, ok := readQuestions(b)
		require.LessOrEqual(t, len(asked.questions), maxQuestions)
		if !ok {
			return
		}
		r := reply{id: asked.id, questions: asked.questions, ttl: 9, addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}}
		for _, q := range asked.questions {
			r.wanted |= a.records.wants(q)
		}
		if packet, err := a.records.pack(r); err == nil {
			require.LessOrEqual(t, len(packet), longestMessage)
		}
	})
}
