package mdns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// link is the local network: where questions go to, and who is a neighbour.
type link struct {
	port       int
	interfaces func() ([]net.Interface, error)
}

// network is the real one.
var network = &link{port: 5353, interfaces: usable}

var (
	group4 = netip.AddrFrom4([4]byte{224, 0, 0, 251})
	group6 = netip.MustParseAddr("ff02::fb")
)

// maxInterfaces bounds how many are used: a machine with containers can have
// hundreds.
const maxInterfaces = 32

// usable are the interfaces that are up and can multicast; the loopback alone when
// there is no other, for several nodes on a machine without a network.
func usable() ([]net.Interface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var found, loop []net.Interface
	for _, i := range list {
		switch {
		case i.Flags&net.FlagUp == 0:
		case i.Flags&net.FlagLoopback != 0:
			loop = append(loop, i)
		case i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagPointToPoint == 0:
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		found = loop
	}
	return found[:min(len(found), maxInterfaces)], nil
}

// neighbour reports whether an address is on a network that this machine is on.
func neighbour(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	if address.IsLinkLocalUnicast() {
		return true
	}
	list, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(list, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Contains(address)
	})
}

// prefixes are the addresses of an interface with their networks.
func prefixes(i *net.Interface) []netip.Prefix {
	addresses, err := i.Addrs()
	if err != nil {
		return nil
	}
	var list []netip.Prefix
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && len(list) < maxAddresses {
			list = append(list, prefix)
		}
	}
	return list
}

// heardPacket is one packet and where it came from.
type heardPacket struct {
	bytes []byte
	from  netip.AddrPort
	index int // of the interface; 0: unknown
	on    *socket
}

// zone is the name of the interface that the packet came in by, if it is known.
func (p heardPacket) zone() string {
	if zone := p.from.Addr().Zone(); zone != "" || p.index == 0 {
		return zone
	}
	i, err := net.InterfaceByIndex(p.index)
	if err != nil {
		return ""
	}
	return i.Name
}

// socket is a UDP socket of one family that can multicast.
type socket struct {
	conn *net.UDPConn
	v4   *ipv4.PacketConn // one of the two is nil
	v6   *ipv6.PacketConn
	port int
}

func newSocket(conn *net.UDPConn, six bool, port int) *socket {
	s := &socket{conn: conn, port: port}
	// An error leaves a default that serves on a machine with one interface.
	if six {
		s.v6 = ipv6.NewPacketConn(conn)
		_ = s.v6.SetControlMessage(ipv6.FlagInterface, true)
		_ = s.v6.SetMulticastLoopback(true)
		_ = s.v6.SetMulticastHopLimit(255)
	} else {
		s.v4 = ipv4.NewPacketConn(conn)
		_ = s.v4.SetControlMessage(ipv4.FlagInterface, true)
		_ = s.v4.SetMulticastLoopback(true)
		_ = s.v4.SetMulticastTTL(255)
	}
	return s
}

func (s *socket) group() netip.Addr {
	if s.v6 != nil {
		return group6
	}
	return group4
}

// join makes the socket hear the group on an interface.
func (s *socket) join(i *net.Interface) error {
	group := &net.UDPAddr{IP: s.group().AsSlice()}
	if s.v6 != nil {
		return s.v6.JoinGroup(i, group)
	}
	return s.v4.JoinGroup(i, group)
}

// receive reads one packet into buf.
func (s *socket) receive(buf []byte) (n, index int, from netip.AddrPort, err error) {
	var source net.Addr
	if s.v6 != nil {
		var control *ipv6.ControlMessage
		if n, control, source, err = s.v6.ReadFrom(buf); control != nil {
			index = control.IfIndex
		}
	} else {
		var control *ipv4.ControlMessage
		if n, control, source, err = s.v4.ReadFrom(buf); control != nil {
			index = control.IfIndex
		}
	}
	if udp, ok := source.(*net.UDPAddr); ok {
		from = udp.AddrPort()
	}
	return n, index, from, err
}

// send sends to the group on an interface, from its own address: for the loopback
// the kernel would choose that of another.
func (s *socket) send(b []byte, i *net.Interface) error {
	to := &net.UDPAddr{IP: s.group().AsSlice(), Port: s.port}
	var err error
	if s.v6 != nil {
		_, err = s.v6.WriteTo(b, &ipv6.ControlMessage{IfIndex: i.Index}, to)
	} else {
		control := &ipv4.ControlMessage{IfIndex: i.Index}
		for _, prefix := range prefixes(i) {
			if prefix.Addr().Is4() {
				control.Src = prefix.Addr().AsSlice()
				break
			}
		}
		_, err = s.v4.WriteTo(b, control, to)
	}
	return err
}

// sockets are those of both families, and the interfaces to use.
type sockets struct {
	list       []*socket
	interfaces []net.Interface
	readers    sync.WaitGroup
}

// open makes sockets on ports of their own.
func (l *link) open() (*sockets, error) {
	interfaces, err := l.interfaces()
	if err != nil {
		return nil, err
	}
	if len(interfaces) == 0 {
		return nil, errNoInterface
	}
	s := &sockets{interfaces: interfaces}
	var failed error
	for _, six := range []bool{false, true} {
		family := "udp4"
		if six {
			family = "udp6"
		}
		conn, err := net.ListenUDP(family, nil)
		if err != nil { // the machine may have one family alone
			failed = errors.Join(failed, err)
			continue
		}
		s.list = append(s.list, newSocket(conn, six, l.port))
	}
	if len(s.list) == 0 {
		return nil, failed
	}
	return s, nil
}

// sendAll sends to the group by each family on each interface. It fails when none
// of them works.
func (s *sockets) sendAll(b []byte) error {
	var failed error
	sent := false
	for _, one := range s.list {
		for _, i := range s.interfaces {
			if err := one.send(b, &i); err != nil {
				failed = errors.Join(failed, err)
			} else {
				sent = true
			}
		}
	}
	if sent {
		return nil
	}
	return failed
}

// read passes on what is heard, until ctx ends and the sockets are closed.
func (s *sockets) read(ctx context.Context, heard chan<- heardPacket) {
	for _, one := range s.list {
		s.readers.Go(func() {
			buf := make([]byte, longestMessage+1)
			for failures := 0; failures < 100; {
				n, index, from, err := one.receive(buf)
				if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil || n > longestMessage {
					failures++
					continue
				}
				failures = 0
				select {
				case heard <- heardPacket{bytes: append([]byte(nil), buf[:n]...), from: from, index: index, on: one}:
				case <-ctx.Done():
					return
				}
			}
		})
	}
}

// close ends the readers.
func (s *sockets) close() {
	for _, one := range s.list {
		_ = one.conn.Close()
	}
	s.readers.Wait()
}
