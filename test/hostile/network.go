//go:build linux && (amd64 || arm64)

package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

var network = []attempt{
	{name: "tcp4", try: func(w world) error { return dial(unix.SOCK_STREAM, address4(w.num("tcp4"))) }},
	{name: "tcp6", try: func(w world) error { return dial(unix.SOCK_STREAM, address6(w.num("tcp6"))) }},
	{name: "udp4", try: func(w world) error { return dial(unix.SOCK_DGRAM, address4(w.num("udp4"))) }},
	{name: "tcp-listen", try: listen},
	{name: "raw-socket", try: socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
	{name: "ping-socket", try: socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)},
	{name: "packet-socket", try: socket(unix.AF_PACKET, unix.SOCK_RAW, 0)},
	{name: "netlink", try: socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)},
	{name: "vsock", try: socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
	{name: "crypto-socket", try: socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
	{name: "unix-socket", try: func(w world) error { return dial(unix.SOCK_STREAM, addressUnix(w.Get("unix"), false)) }},
	{name: "unix-abstract", try: func(w world) error { return dial(unix.SOCK_STREAM, addressUnix(w.Get("abstract"), true)) }},
	{name: "unix-pair", try: pair},
	{name: "agent-socket-reconnect", try: func(w world) error {
		a := addressUnix(w.Get("unix"), false)
		_, err := sys(unix.SYS_CONNECT, 3, memoryOf(a), uintptr(len(a)))
		return reached(err, unix.EISCONN)
	}},
	{name: "agent-socket-name", try: func(w world) error {
		a := addressUnix(fmt.Sprint("picloud-hostile-", unix.Getpid()), true)
		_, err := sys(unix.SYS_BIND, 3, memoryOf(a), uintptr(len(a)))
		return reached(err, unix.EINVAL) // a second time
	}},
	{name: "agent-socket-peer", try: func(world) error {
		_, err := sys(unix.SYS_GETPEERNAME, 3, zeros(128), memoryOf([]byte{128, 0, 0, 0}))
		return err
	}},
	{name: "agent-socket-accept", try: func(world) error {
		_, err := sys(unix.SYS_ACCEPT4, 3, 0, 0, 0)
		return reached(err, unix.EINVAL) // it is not one that listens
	}},
	{name: "agent-socket-option", try: func(world) error {
		_, err := sys(unix.SYS_SETSOCKOPT, 3, unix.SOL_SOCKET, unix.SO_SNDBUF, memoryOf([]byte{0, 0, 1, 0}), 4)
		return err
	}},
	{name: "agent-socket-shutdown", try: func(world) error {
		_, err := sys(unix.SYS_SHUTDOWN, 3, 17)
		return reached(err, unix.EINVAL)
	}},
	{name: "agent-socket-receive", try: func(world) error {
		_, err := sys(unix.SYS_RECVFROM, 3, zeros(16), 16, unix.MSG_DONTWAIT|unix.MSG_PEEK, 0, 0)
		return reached(err, unix.EAGAIN)
	}},
	{name: "agent-socket-send", try: func(world) error {
		_, err := sys(unix.SYS_SENDTO, 3, zeros(1), 0, unix.MSG_DONTWAIT, 0, 0)
		return err
	}},
	{name: "pass-descriptor", try: passDescriptor},
	{name: "interfaces", try: func(world) error {
		request := [2]uint64{4096, uint64(zeros(4096))}
		_, err := sys(unix.SYS_IOCTL, 3, siocGIFConf, memoryOf(bytesOf(&request)))
		return err
	}},
}

const siocGIFConf = 0x8912

func socket(family, kind, protocol uintptr) func(world) error {
	return opening(unix.SYS_SOCKET, family, kind|unix.SOCK_CLOEXEC, protocol)
}

// dial opens a socket to an address and sends a byte.
func dial(kind uintptr, address []byte) error {
	fd, err := sys(unix.SYS_SOCKET, uintptr(binary.NativeEndian.Uint16(address)), kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(int(fd))
	if _, err := sys(unix.SYS_CONNECT, fd, memoryOf(address), uintptr(len(address))); err != nil {
		return err
	}
	_, err = sys(unix.SYS_WRITE, fd, text("x"), 1)
	return reached(err, unix.EPIPE, unix.ECONNRESET) // the other side hung up
}

func listen(world) error {
	fd, err := sys(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(int(fd))
	a := address4(0)
	_, bound := sys(unix.SYS_BIND, fd, memoryOf(a), uintptr(len(a)))
	_, err = sys(unix.SYS_LISTEN, fd, 1)
	return errors.Join(bound, err)
}

func pair(world) error {
	_, err := sys(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0, zeros(8))
	return err
}

// passDescriptor sends a descriptor to the agent.
func passDescriptor(world) error {
	message := unix.Msghdr{Iovlen: 1}
	part := unix.Iovec{Base: &[]byte{0}[0]}
	part.SetLen(1)
	kept = append(kept, bytesOf(&part))
	message.Iov = &part
	rights := unix.UnixRights(0)
	message.Control = &rights[0]
	message.SetControllen(len(rights))
	kept = append(kept, rights)
	_, err := sys(unix.SYS_SENDMSG, 3, memoryOf(bytesOf(&message)), unix.MSG_DONTWAIT)
	return err
}

func address4(port int) []byte {
	a := make([]byte, 16)
	binary.NativeEndian.PutUint16(a, unix.AF_INET)
	binary.BigEndian.PutUint16(a[2:], uint16(port))
	copy(a[4:], []byte{127, 0, 0, 1})
	return a
}

func address6(port int) []byte {
	a := make([]byte, 28)
	binary.NativeEndian.PutUint16(a, unix.AF_INET6)
	binary.BigEndian.PutUint16(a[2:], uint16(port))
	a[23] = 1
	return a
}

func addressUnix(name string, abstract bool) []byte {
	a := binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX)
	if abstract {
		return append(append(a, 0), name...)
	}
	return append(append(a, name...), 0)
}
