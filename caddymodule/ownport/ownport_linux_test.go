package ownport

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOwnPorts(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::]:0"} {
		l, err := net.Listen("tcp", address)
		require.NoError(t, err)
		port := uint16(l.Addr().(*net.TCPAddr).Port)
		require.True(t, new(Ports).Has(port), address)
		client, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		require.False(t, new(Ports).Has(uint16(client.LocalAddr().(*net.TCPAddr).Port)), "a port that we only connect from")
		require.NoError(t, client.Close())
		require.NoError(t, l.Close())
		require.False(t, new(Ports).Has(port), "closed")
	}
}
