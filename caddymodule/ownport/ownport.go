// Package ownport knows on which TCP ports this process listens.
package ownport

import (
	"sync"
	"time"
)

// age is how long the kernel's list of this process's ports is kept.
const age = 10 * time.Second

// Ports knows the ports that this process listens on, whatever configuration
// opened them: sites, the control API, an admin API of Caddy's on TCP. No function
// may reach any of them.
type Ports struct {
	// Known reports whether a port is known to be this process's without asking the
	// kernel. Nil: none is.
	Known func(port uint16) bool

	mu   sync.Mutex
	read time.Time
	set  map[uint16]struct{}
}

// Has reports whether a port is this process's. Ports of Known are so at once,
// others after ten seconds at most.
func (p *Ports) Has(port uint16) bool {
	if p.Known != nil && p.Known(port) {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set == nil || time.Since(p.read) > age {
		p.set, p.read = listening(), time.Now()
	}
	_, found := p.set[port]
	return found
}
