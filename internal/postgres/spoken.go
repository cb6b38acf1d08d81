package postgres

import (
	"crypto/tls"
	"net"
	"syscall"
)

// spoken reports whether something waits to be read on a connection that nobody uses. A
// server that ends says so, or closes the connection; who sends a statement before reading
// that cannot tell whether it was carried out.
//
// It only asks and never waits: pgx can have left a reader of its own on the connection,
// after a write that took more than 15 ms, and reads take turns.
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
	err = raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, peek = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err != nil || peek != syscall.EAGAIN
}
