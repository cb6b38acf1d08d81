package gossip

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"github.com/picloud/picloud/internal/backoff"
)

const (
	maxKnown  = 256 // addresses that are considered
	joinsOnce = 8   // addresses that one round tries at the same time
	everyMany = 6   // rounds between tries of what is unlikely to help
	longDead  = 60  // failed rounds after which an address is tried seldom: ten minutes
)

// keeper joins the known peers that are not alive, and follows this machine's
// address.
type keeper struct {
	g       *Gossip
	round   int
	strikes map[netip.AddrPort]int  // failed rounds in a row
	aliases map[netip.AddrPort]bool // it answered, and is alive under another address
	missing int                     // rounds in a row without the address that we advertise
}

func (k *keeper) keep(ctx context.Context) {
	if hold := k.g.opts.Hold; hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return
		}
	}
	for {
		k.join(ctx)
		k.round++
		wait := k.g.timing.rejoin
		if !backoff.Pause(ctx, wait-wait/10+rand.N(wait/5)) {
			return
		}
		k.follow(ctx)
	}
}

// join tries some of the peers that are not alive, and returns when each has
// answered or the deadline of a stream has passed.
func (k *keeper) join(ctx context.Context) {
	k.g.mu.Lock()
	list := k.g.list
	k.g.mu.Unlock()
	if list == nil {
		return
	}
	candidates := k.candidates(ctx)
	rand.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
	candidates = candidates[:min(len(candidates), joinsOnce)]
	joined := make([]bool, len(candidates))
	var wg sync.WaitGroup
	for i, address := range candidates {
		wg.Go(func() {
			n, _ := list.Join([]string{address.String()}) // memberlist has written the error down
			joined[i] = n > 0
		})
	}
	wg.Wait()
	alive, away := k.alive()
	for i, address := range candidates {
		if !joined[i] {
			k.strikes[address]++
			continue
		}
		delete(k.strikes, address)
		if !alive[address] && !away[address] {
			k.aliases[address] = true
		}
	}
}

// alive returns the addresses of the members that are, and those of the others.
func (k *keeper) alive() (alive, away map[netip.AddrPort]bool) {
	alive, away = map[netip.AddrPort]bool{}, map[netip.AddrPort]bool{}
	for _, m := range k.g.Members() {
		address, err := netip.ParseAddrPort(m.Gossip)
		switch {
		case err != nil:
		case m.Alive:
			alive[address] = true
		case m.Node != k.g.opts.Node:
			away[address] = true
		}
	}
	return alive, away
}

// candidates are the addresses to try: of members that went away, and of known
// peers that are nobody's address. While some peer is alive, names and addresses
// that did not help lately are tried seldom.
func (k *keeper) candidates(ctx context.Context) []netip.AddrPort {
	alive, away := k.alive()
	thorough := len(alive) < 2 || k.round%everyMany == 0
	found := away
	var names []string
	known := k.g.opts.Known()
	for _, peer := range known[:min(len(known), maxKnown)] {
		if address, err := netip.ParseAddrPort(peer); err == nil {
			found[netip.AddrPortFrom(address.Addr().Unmap(), address.Port())] = true
		} else {
			names = append(names, peer)
		}
	}
	if thorough {
		k.resolve(ctx, names, found)
	}
	own := k.ownAddresses()
	maps.DeleteFunc(found, func(address netip.AddrPort, _ bool) bool {
		return alive[address] || own[address] || !thorough && (k.aliases[address] || k.strikes[address] > longDead)
	})
	if thorough { // what is not known any more is forgotten
		clear(k.aliases)
		maps.DeleteFunc(k.strikes, func(address netip.AddrPort, _ int) bool { return !found[address] })
	}
	return slices.Collect(maps.Keys(found))
}

// resolve adds the addresses of names to found.
func (k *keeper) resolve(ctx context.Context, names []string, found map[netip.AddrPort]bool) {
	ctx, cancel := context.WithTimeout(ctx, k.g.timing.stream)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, name := range names[:min(len(names), joinsOnce)] {
		host, port, err := net.SplitHostPort(name)
		if err != nil {
			host, port = name, strconv.Itoa(k.g.opts.Port)
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			continue
		}
		wg.Go(func() {
			addresses, _ := k.g.opts.Resolve(ctx, host) // the next round asks again
			mu.Lock()
			defer mu.Unlock()
			for _, address := range addresses[:min(len(addresses), joinsOnce)] {
				found[netip.AddrPortFrom(address.Unmap(), uint16(number))] = true
			}
		})
	}
	wg.Wait()
}

// ownAddresses are those under which this node would find itself.
func (k *keeper) ownAddresses() map[netip.AddrPort]bool {
	k.g.mu.Lock()
	defer k.g.mu.Unlock()
	own := map[netip.AddrPort]bool{k.g.endpoint(k.g.address): true}
	if bound, err := netip.ParseAddr(k.g.opts.Bind); err != nil || bound.IsUnspecified() {
		for _, address := range machineAddresses() {
			own[k.g.endpoint(address)] = true
		}
	}
	return own
}

// follow makes a new memberlist when the address that this node advertises is not
// its own any more. Two rounds in a row must find that: while a lease is renewed an
// address is away for a moment.
func (k *keeper) follow(ctx context.Context) {
	now := k.g.ownAddress(ctx, k.round%everyMany == 0 || k.missing > 0)
	k.g.mu.Lock()
	defer k.g.mu.Unlock()
	if k.g.stopped {
		return
	}
	if k.g.list != nil && now == k.g.address {
		k.missing = 0
		return
	}
	if k.missing++; k.g.list != nil && k.missing < 2 {
		return
	}
	k.missing = 0
	k.g.opts.Logger.Info("the address of this node changed: it tells its peers", slog.Any("from", k.g.address), slog.Any("to", now))
	k.g.close()
	if err := k.g.open(now); err != nil {
		k.g.opts.Logger.Warn("gossip does not start under the new address; it is tried again", slog.Any("address", now), slog.Any("error", err))
	}
}
