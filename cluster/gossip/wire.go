package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/picloud/picloud/internal/backoff"
)

// What a wire holds at most.
const (
	packetSize        = 1200 // of UDP: it fits into a tunnel (WireGuard, PPPoE) in one piece
	longestPacket     = 4096 // that is read; longer ones are dropped
	maxStreams        = 64   // at once, of those that others opened
	maxStreamsOfOne   = 16   // of one address: several nodes can share a machine
	acceptPause       = 100 * time.Millisecond
	receiveBufferSize = 256 << 10
)

// wire is the UDP and the TCP port of gossip, as memberlist's transport.
type wire struct {
	udp     *net.UDPConn
	tcp     *net.TCPListener
	packets chan *memberlist.Packet
	streams chan net.Conn
	ctx     context.Context // ends with Shutdown
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu    sync.Mutex
	conns map[*stream]struct{}
}

// listen opens both ports. An empty bind means all addresses.
func listen(bind string, port int) (*wire, error) {
	var ip netip.Addr
	if bind != "" {
		var err error
		if ip, err = netip.ParseAddr(bind); err != nil {
			return nil, fmt.Errorf("listen for gossip on %q: it is not an IP address: %w", bind, err)
		}
	}
	explain := func(kind string, err error) error {
		return fmt.Errorf("listen for gossip on %s port %d: %w; end what uses the port, or choose another one by gossip_port", kind, port, err)
	}
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: ip.AsSlice(), Port: port})
	if err != nil {
		return nil, explain("TCP", err)
	}
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip.AsSlice(), Port: port})
	if err != nil {
		return nil, errors.Join(explain("UDP", err), tcp.Close())
	}
	_ = udp.SetReadBuffer(receiveBufferSize) // the default of the system serves too
	ctx, cancel := context.WithCancel(context.Background())
	w := &wire{udp: udp, tcp: tcp, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), ctx: ctx, cancel: cancel, conns: map[*stream]struct{}{}}
	w.wg.Go(w.receive)
	w.wg.Go(w.accept)
	return w, nil
}

func (w *wire) receive() {
	buf := make([]byte, longestPacket+1)
	for {
		n, from, err := w.udp.ReadFromUDPAddrPort(buf)
		if w.ctx.Err() != nil {
			return
		}
		if err != nil {
			backoff.Pause(w.ctx, acceptPause)
			continue
		}
		if n == 0 || n > longestPacket {
			continue
		}
		packet := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now()}
		select {
		case w.packets <- packet:
		case <-w.ctx.Done():
			return
		}
	}
}

func (w *wire) accept() {
	for {
		conn, err := w.tcp.AcceptTCP()
		if w.ctx.Err() != nil {
			return
		}
		if err != nil { // no file descriptor is left, for example
			backoff.Pause(w.ctx, acceptPause)
			continue
		}
		s := w.track(conn, true)
		if s == nil {
			continue
		}
		select {
		case w.streams <- s:
		case <-w.ctx.Done():
			return
		}
	}
}

// track counts conn in, or closes it and returns nil when the wire is shut down or
// there are too many.
func (w *wire) track(conn net.Conn, foreign bool) *stream {
	s := &stream{Conn: conn, wire: w}
	if foreign {
		if peer, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
			s.peer = peer.Addr().Unmap()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	foreigners, same := 0, 0
	for other := range w.conns {
		if other.peer.IsValid() {
			foreigners++
		}
		if other.peer == s.peer {
			same++
		}
	}
	if w.ctx.Err() != nil || foreign && (foreigners >= maxStreams || same >= maxStreamsOfOne) {
		conn.Close()
		return nil
	}
	w.conns[s] = struct{}{}
	return s
}

// stream is a TCP connection that its wire can close.
type stream struct {
	net.Conn
	wire *wire
	peer netip.Addr // who opened it; invalid: this node did
}

// Close implements net.Conn.
func (s *stream) Close() error {
	s.wire.mu.Lock()
	delete(s.wire.conns, s)
	s.wire.mu.Unlock()
	return s.Conn.Close()
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (w *wire) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, 0, fmt.Errorf("advertise %q: %w", ip, err)
	}
	return address.Unmap().WithZone("").AsSlice(), port, nil
}

// WriteTo implements memberlist.Transport. addr holds an IP address, never a name.
func (w *wire) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = w.udp.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (w *wire) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	return w.WriteTo(b, addr.Addr)
}

// DialTimeout implements memberlist.Transport.
func (w *wire) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(w.ctx, "tcp", net.JoinHostPort(to.Addr().String(), strconv.Itoa(int(to.Port()))))
	if err != nil {
		return nil, err
	}
	if s := w.track(conn, false); s != nil {
		return s, nil
	}
	return nil, net.ErrClosed
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (w *wire) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return w.DialTimeout(addr.Addr, timeout)
}

// PacketCh implements memberlist.Transport.
func (w *wire) PacketCh() <-chan *memberlist.Packet { return w.packets }

// StreamCh implements memberlist.Transport.
func (w *wire) StreamCh() <-chan net.Conn { return w.streams }

// Shutdown implements memberlist.Transport: it closes the ports and every stream.
func (w *wire) Shutdown() error {
	w.cancel()
	err := errors.Join(w.tcp.Close(), w.udp.Close())
	w.mu.Lock()
	for s := range w.conns {
		s.Conn.Close()
	}
	clear(w.conns)
	w.mu.Unlock()
	w.wg.Wait()
	return err
}
