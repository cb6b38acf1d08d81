package postgres

import (
	"crypto/tls"
	"net"
	"syscall"
)

// spoken reports whether something waits to be read on a connection that nobody uses. A
// server that ends says so, or closes the connection; who sends a statement before reading
// that cannot tell whether it was carried out.
func spoken(conn net.Conn) bool {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	var peek error
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, peek = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return err != nil || peek != syscall.EAGAIN
}
