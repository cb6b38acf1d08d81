package caddymodule

import (
	"net"
	"strconv"
	"sync"
	"time"
)

// ownPortsAge is how long the kernel's list of this process's ports is kept.
const ownPortsAge = 10 * time.Second

// ownPorts knows the ports that this process listens on, whatever configuration
// opened them: sites, the control API, an admin API of Caddy's on TCP. No function
// may reach any of them.
type ownPorts struct {
	mu   sync.Mutex
	read time.Time
	set  map[uint16]struct{}
}

// has reports whether a port is this process's. The sockets of the network
// "picloud" are known at once, others after ownPortsAge at most.
func (o *ownPorts) has(port uint16) bool {
	if sockets.has(port) {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.set == nil || time.Since(o.read) > ownPortsAge {
		o.set, o.read = listening(), time.Now()
	}
	_, found := o.set[port]
	return found
}

// has reports whether a socket of the pool has the port.
func (p *socketPool) has(port uint16) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for address := range p.open {
		if _, text, err := net.SplitHostPort(address); err == nil && text == strconv.Itoa(int(port)) {
			return true
		}
	}
	return false
}
