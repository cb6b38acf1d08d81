package cluster

import (
	"cmp"
	"net"
	"strconv"
)

// Advertised returns the address by which others reach the cluster port of this node.
func (c *Cluster) Advertised() string {
	host := c.o.Advertise
	if bound := net.ParseIP(c.o.Bind); host == "" && bound != nil && !bound.IsUnspecified() {
		host = c.o.Bind
	}
	return net.JoinHostPort(cmp.Or(host, firstAddress()), strconv.Itoa(c.o.Port))
}

// firstAddress is the machine's address towards its networks, or loopback.
func firstAddress() string {
	addresses, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() && ip.IP.To4() != nil {
				return ip.IP.String()
			}
		}
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
				return ip.IP.String()
			}
		}
	}
	return "127.0.0.1"
}

// HostOf returns the host of an address; empty: it is no host:port.
func HostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return host
}
