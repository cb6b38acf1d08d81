package egress

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestPublic(t *testing.T) {
	for _, s := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.216.34", "100.63.255.255", "100.128.0.0", "126.255.255.255",
		"128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0",
		"192.31.196.1", "192.52.193.1", "192.167.255.255", "192.169.0.0", "192.175.48.1", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"::ffff:8.8.8.8", "2001:200::1", "2001:4860:4860::8888", "2606:2800:220:1::1", "2620:4f:8000::1", "2a00::1", "2003::1", "3fff:1000::1", "3ffe::1",
	} {
		require.True(t, isPublic(netip.MustParseAddr(s)), s)
	}
	for _, s := range []string{
		"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1", "127.255.255.254",
		"169.254.0.1", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.1", "192.0.0.8", "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.0.0",
		"192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:8.8.8.8", "64:ff9b::808:808", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "100:0:0:1::1",
		"1fff::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1",
		"3fff::1", "3fff:fff::1", "4000::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe00::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ffff::1",
	} {
		require.False(t, isPublic(netip.MustParseAddr(s)), s)
	}
	require.False(t, isPublic(netip.Addr{}))
}

func TestRangesThatArePrivateAsAWhole(t *testing.T) {
	for s, want := range map[string]bool{
		"10.0.0.0/8": true, "10.1.2.0/24": true, "192.168.0.0/16": true, "192.168.0.0/15": false, "127.0.0.1/32": true, "0.0.0.0/0": false, "8.8.8.0/24": false,
		"172.16.0.0/11": false, "fd00::/8": true, "::/0": false, "2000::/3": false, "::1/128": true, "2001:db8::/32": true, "2001::/16": false, "64:ff9b::/96": true,
	} {
		require.Equal(t, want, private(netip.MustParsePrefix(s)), s)
	}
}

// FuzzPublic: no spelling of an address is public when another is not, and no
// range is private that has a public address.
func FuzzPublic(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "8.8.8.8", "::1", "2606::1"} {
		a := netip.MustParseAddr(s)
		f.Add(a.AsSlice(), 8)
	}
	f.Fuzz(func(t *testing.T, raw []byte, bits int) {
		a, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		public := isPublic(a)
		require.Equal(t, public, isPublic(a.Unmap()))
		require.Equal(t, public, isPublic(a.WithZone("eth0")))
		if a.Is4() {
			require.Equal(t, public, isPublic(netip.AddrFrom16(a.As16())))
		}
		if public {
			require.True(t, a.IsGlobalUnicast() && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast())
			a = a.Unmap()
			if p, err := a.Prefix(bits); err == nil {
				require.False(t, private(p), p)
			}
		}
	})
}

func policyOf(t testing.TB, rules ...string) *Policy {
	t.Helper()
	var parsed []picloud.EgressRule
	for _, text := range rules {
		r, err := picloud.ParseEgress(text)
		require.NoError(t, err, text)
		parsed = append(parsed, r)
	}
	return newPolicy(parsed)
}

func TestPolicies(t *testing.T) {
	var none *Policy
	require.False(t, none.may("example.org", 443))
	require.False(t, none.address(netip.MustParseAddrPort("8.8.8.8:443"), true))
	require.Nil(t, policyOf(t))

	p := policyOf(t, "api.example.org", "*.example.com:443", "192.168.1.0/24:8123", "8.8.8.8", "fd00::/8")
	for host, want := range map[string]bool{
		"api.example.org": true, "example.org": false, "x.api.example.org": false, "xapi.example.org": false,
		"a.example.com": true, "a.b.example.com": true, "example.com": false, "aexample.com": false, ".example.com": false,
	} {
		require.Equal(t, want, p.name(host, 443), host)
	}
	require.False(t, p.name("a.example.com", 80))
	require.True(t, policyOf(t, "*").name("anything", 1))
	require.False(t, policyOf(t, "*:443").name("anything", 80))
	require.True(t, policyOf(t, "*:443").every(443))
	require.False(t, policyOf(t, "*:443").every(80))
	require.False(t, policyOf(t, "*.example.org").every(443))

	for to, want := range map[string]bool{
		"192.168.1.7:8123": true, "192.168.1.7:80": false, "192.168.2.7:8123": false, "8.8.8.8:53": true, "8.8.4.4:53": false,
		"[fd12::1]:1": true, "[::ffff:192.168.1.7]:8123": true, "10.0.0.1:80": false, "127.0.0.1:80": false,
	} {
		require.Equal(t, want, p.address(netip.MustParseAddrPort(to), false), to)
	}
	named := netip.MustParseAddrPort("93.184.216.34:443")
	require.True(t, p.address(named, true))
	require.False(t, p.address(named, false))
	require.False(t, p.address(netip.MustParseAddrPort("10.0.0.1:443"), true), "a name does not open private addresses")

	for _, all := range []string{"0.0.0.0/0", "::/0", "0.0.0.0/1", "192.0.0.0/3"} {
		p := policyOf(t, all, "*")
		for _, to := range []string{"10.0.0.1:80", "127.0.0.1:80", "192.168.1.1:80", "[::1]:80", "[fd00::1]:80", "0.0.0.0:80", "169.254.169.254:80"} {
			require.False(t, p.address(netip.MustParseAddrPort(to), true), "%s %s", all, to)
		}
	}
	require.True(t, policyOf(t, "0.0.0.0/0").address(netip.MustParseAddrPort("8.8.8.8:1"), false))
	require.Equal(t, policyOf(t, "b.org", "a.org").key, policyOf(t, "a.org", "b.org", "a.org").key)
	require.NotEqual(t, policyOf(t, "a.org").key, policyOf(t, "a.org:80").key)
	require.Equal(t, policyOf(t, "a.org").key, ParsePolicy([]string{"a.org", "no rule!"}).key)
}
