package egress

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryHostIncludesPublicAddresses and opens no other.
func TestEveryHostIncludesPublicAddresses(t *testing.T) {
	c := New(Options{})
	defer c.Close()
	d := &dialer{client: c, policy: policyOf(t, "*")}
	to, err := d.candidates(t.Context(), "8.8.8.8", 443)
	require.NoError(t, err)
	require.Equal(t, []netip.AddrPort{netip.MustParseAddrPort("8.8.8.8:443")}, to)
	for _, host := range []string{"10.0.0.1", "127.0.0.1", "::1", "::ffff:192.168.1.1", "169.254.169.254", "0.0.0.0", "64:ff9b::a00:1"} {
		_, err := d.candidates(t.Context(), host, 443)
		require.Error(t, err, host)
	}
}
