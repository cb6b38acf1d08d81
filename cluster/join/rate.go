package join

import (
	"net/netip"
	"sync"
	"time"
)

// maxAddresses bounds the addresses that a rate remembers.
const maxAddresses = 1024

// rate counts the requests of each address within a window.
type rate struct {
	mu    sync.Mutex
	since time.Time
	count map[netip.Addr]int
}

func newRate() *rate { return &rate{count: map[netip.Addr]int{}} }

// allow counts a request, and reports whether the address may send it. When more
// addresses ask than the rate remembers, the new ones share one count.
func (r *rate) allow(from netip.Addr, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.since) >= attemptsWithin {
		clear(r.count)
		r.since = now
	}
	if from.Is6() { // one machine has as many addresses of its network as it likes
		network, _ := from.WithZone("").Prefix(64) // an address of IPv6 has one
		from = network.Addr()
	}
	if _, known := r.count[from]; !known && len(r.count) >= maxAddresses {
		from = netip.Addr{}
	}
	r.count[from]++
	return r.count[from] <= maxAttempts
}
