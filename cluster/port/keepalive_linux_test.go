package port

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/cluster/identity"
)

func TestBothEndsNoticeABoardThatWentDark(t *testing.T) {
	a := authority(t, clusterA)
	p := listen(t, Options{Identity: member(t, a, node1, identity.Manager)})
	ends := make(chan *conn, 2)
	p.Handle(RPC, func(c net.Conn, peer identity.Peer) {
		ends <- c.(*conn)
		echo(c, peer)
	})
	dialled, err := Dialer{Identity: member(t, a, node2, identity.Node)}.Dial(soon(t), p.Addr().String(), RPC, "")
	require.NoError(t, err)
	defer dialled.Close()
	ends <- dialled.(*conn)
	for range 2 {
		raw, err := (<-ends).raw.(*net.TCPConn).SyscallConn()
		require.NoError(t, err)
		got := map[int]int{syscall.TCP_KEEPIDLE: 0, syscall.TCP_KEEPINTVL: 0, syscall.TCP_KEEPCNT: 0}
		require.NoError(t, raw.Control(func(fd uintptr) {
			for option := range got {
				value, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, option)
				require.NoError(t, err)
				got[option] = value
			}
		}))
		require.Equal(t, map[int]int{syscall.TCP_KEEPIDLE: 15, syscall.TCP_KEEPINTVL: 5, syscall.TCP_KEEPCNT: 3}, got)
	}
}
