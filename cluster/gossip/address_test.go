package gossip

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

type netipAddrPort = netip.AddrPort

func TestTheAddressToAdvertise(t *testing.T) {
	a := netip.MustParseAddr
	machine := []netip.Addr{a("127.0.0.1"), a("::1"), a("fe80::1"), a("203.0.113.9"), a("192.168.1.5"), a("10.0.0.7"), a("2001:db8::5")}
	none := netip.Addr{}
	require.Equal(t, a("192.168.1.5"), chooseAddress(none, machine, nil), "a private one is the best guess")
	require.Equal(t, a("10.0.0.7"), chooseAddress(a("10.0.0.7"), machine, []string{"127.0.0.9:7946"}), "what serves is kept")
	require.Equal(t, a("192.168.1.5"), chooseAddress(a("10.0.0.8"), machine, nil), "what is gone is not")
	require.Equal(t, a("203.0.113.9"), chooseAddress(none, machine[:4], nil))
	require.Equal(t, a("2001:db8::5"), chooseAddress(none, []netip.Addr{machine[1], machine[6]}, nil))
	require.Equal(t, a("127.0.0.1"), chooseAddress(none, machine, []string{"pi-2.local:7946", "127.0.0.9:7946"}), "the one that reaches the peers")
	require.Equal(t, a("127.0.0.1"), chooseAddress(none, machine[:3], nil))
	require.Equal(t, a("192.168.1.5"), chooseAddress(a("127.0.0.1"), machine, nil), "the network came up after the node")
	require.Equal(t, a("10.0.0.8"), chooseAddress(a("10.0.0.8"), machine[:3], nil), "while the network is away nothing changes")
}
