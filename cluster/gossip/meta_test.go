package gossip

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestMetaFits(t *testing.T) {
	most := Meta{
		Name: strings.Repeat("é", 400), Address: strings.Repeat("a", 253) + ":65535", Role: strings.Repeat("r", 99), Version: strings.Repeat("v", 99),
		Rev: math.MaxInt64, Epoch: math.MaxInt64, Database: true, Hosts: true, KeyRev: math.MaxInt, Group: math.MaxInt,
	}
	b := most.encode()
	require.LessOrEqual(t, len(b), 421)
	require.LessOrEqual(t, len(b), memberlist.MetaMaxSize)
	got, ok := decodeMeta(b)
	require.True(t, ok)
	require.Equal(t, strings.Repeat("é", maxName/2), got.Name, "it is cut between characters")
	require.Equal(t, most.Address, got.Address)
	require.Equal(t, most.Rev, got.Rev)

	most.Address = "x" + most.Address
	got, _ = decodeMeta(most.encode())
	require.Empty(t, got.Address, "half an address leads nowhere")
	require.Len(t, got.Role, maxRole)
}

func TestMetaIsTamed(t *testing.T) {
	for _, address := range []string{"", "pi-1", "pi-1:0", "pi-1:70000", ":7947", "pi 1:7947", "pi-1/x:7947", "a@b:7947", "p\x1b[1mi:7947", "::1:7947"} {
		require.Empty(t, Meta{Address: address}.tame().Address, address)
	}
	for _, address := range []string{"pi-1.local:7947", "192.0.2.1:7947", "[2001:db8::1]:7947", "[fe80::1%eth0]:7947"} {
		require.Equal(t, address, Meta{Address: address}.tame().Address)
	}
	require.Equal(t, Meta{Name: "pi[2J1"}, Meta{Name: "p\x1bi[2J\n1\u202e\xff", Rev: -1, Epoch: math.MinInt64, KeyRev: -7}.tame())
	_, ok := decodeMeta(make([]byte, 600))
	require.False(t, ok)
	got, ok := decodeMeta([]byte{0xa2, 0x01, 0x61, 'x', 0x18, 0x63, 0x05}) // {1: "x", 99: 5}
	require.True(t, ok, "a newer version may say more")
	require.Equal(t, Meta{Name: "x"}, got)
}

func TestMetaComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Meta{
			Name: rapid.String().Draw(t, "name"), Address: rapid.String().Draw(t, "address"), Role: rapid.String().Draw(t, "role"), Version: rapid.String().Draw(t, "version"),
			Rev: rapid.Int64().Draw(t, "rev"), Epoch: rapid.Int64().Draw(t, "epoch"), KeyRev: rapid.Int().Draw(t, "keys"), Group: rapid.Int().Draw(t, "group"),
			Database: rapid.Bool().Draw(t, "database"), Hosts: rapid.Bool().Draw(t, "hosts"),
		}
		got, ok := decodeMeta(m.encode())
		require.True(t, ok)
		require.Equal(t, m.tame(), got)
	})
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add(Meta{}.encode())
	f.Add(Meta{Name: "pi-1", Address: "192.0.2.1:7947", Role: "manager", Rev: 7, Epoch: 2, Database: true, Hosts: true, Version: "0.9.0", KeyRev: 1}.encode())
	f.Add([]byte{0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x81, 0x81, 0x81, 0x81, 0x81})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := decodeMeta(b)
		if !ok {
			require.Zero(t, m)
			return
		}
		require.Equal(t, m, m.tame(), "what is read is within its bounds")
		require.True(t, utf8.ValidString(m.Name+m.Address+m.Role+m.Version))
		again, ok := decodeMeta(m.encode())
		require.True(t, ok)
		require.Equal(t, m, again)
	})
}
