package egress

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// localsAge is how long the list of the machine's addresses is cached.
const localsAge = 10 * time.Second

// locals knows the addresses of this machine.
type locals struct {
	list func() ([]net.Addr, error)

	mu   sync.Mutex
	read time.Time
	set  map[netip.Addr]struct{}
}

// has reports whether an address is one of this machine's.
func (l *locals) has(a netip.Addr) bool {
	a = plain(a)
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.set == nil || now.Sub(l.read) > localsAge {
		// If the list cannot be read now, the earlier list stays. dialer.connect
		// notices a connection to this machine in any case.
		if addrs, err := l.list(); err == nil {
			l.set = make(map[netip.Addr]struct{}, len(addrs))
			for _, addr := range addrs {
				if p, err := netip.ParsePrefix(addr.String()); err == nil {
					l.set[plain(p.Addr())] = struct{}{}
				}
			}
		}
		l.read = now
	}
	_, found := l.set[a]
	return found
}
