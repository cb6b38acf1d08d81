package gossip

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// maxMembers is how many members a node remembers. When a peer invents more, the
// newer ones are refused.
const maxMembers = 1024

// remembered is how long a member that went away stays in the list.
const remembered = 24 * time.Hour

// twinGap is the longest silence within one report of a twin. Each comparison of
// everything repeats it.
const twinGap = 90 * time.Second

// Member is a node as gossip knows it.
type Member struct {
	Node   string    // its id
	Meta   Meta      // what it says of itself; empty when it cannot be read
	Alive  bool      // false: it left, or nobody reaches it
	Since  time.Time // when Alive last changed, by the clock of this node
	Gossip string    // host:port where it gossips, for Options.Known
}

// roster is what memberlist tells. It implements memberlist's delegates, which
// run under memberlist's locks: nothing here calls back or blocks.
type roster struct {
	self    string
	changed chan struct{} // has room for one

	mu        sync.Mutex
	members   map[string]Member
	saying    []byte
	twin      string
	twinFirst time.Time
	twinLast  time.Time
}

func newRoster(self string) *roster {
	return &roster{self: self, changed: make(chan struct{}, 1), members: map[string]Member{}, saying: Meta{}.encode()}
}

func (r *roster) list() []Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.members), func(a, b Member) int { return strings.Compare(a.Node, b.Node) })
}

// say reports whether meta is something new.
func (r *roster) say(meta []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := !slices.Equal(r.saying, meta)
	r.saying = meta
	return fresh
}

// allGone is called when this node leaves: it sees nobody any more.
func (r *roster) allGone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for id, m := range r.members {
		if m.Alive {
			m.Alive, m.Since = false, now
			r.members[id] = m
		}
	}
	poke(r.changed)
}

// seen writes down what memberlist knows of n.
func (r *roster) seen(n *memberlist.Node, alive bool) {
	meta, _ := decodeMeta(n.Meta)
	address, _ := netip.AddrFromSlice(n.Addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.members[n.Name]
	if !ok || m.Alive != alive {
		m.Since = time.Now()
	}
	m.Node, m.Meta, m.Alive = n.Name, meta, alive
	m.Gossip = netip.AddrPortFrom(address.Unmap(), n.Port).String()
	r.members[n.Name] = m
	r.forget()
	poke(r.changed)
}

// forget drops members that have been away for long, and the longest away when
// there are too many. The caller holds mu.
func (r *roster) forget() {
	maps.DeleteFunc(r.members, func(_ string, m Member) bool { return !m.Alive && time.Since(m.Since) > remembered })
	for len(r.members) > maxMembers {
		oldest := ""
		for id, m := range r.members {
			if !m.Alive && (oldest == "" || m.Since.Before(r.members[oldest].Since)) {
				oldest = id
			}
		}
		if oldest == "" {
			return // NotifyAlive refuses those that would be too many
		}
		delete(r.members, oldest)
	}
}

// NotifyJoin implements memberlist.EventDelegate.
func (r *roster) NotifyJoin(n *memberlist.Node) { r.seen(n, true) }

// NotifyUpdate implements memberlist.EventDelegate.
func (r *roster) NotifyUpdate(n *memberlist.Node) { r.seen(n, true) }

// NotifyLeave implements memberlist.EventDelegate.
func (r *roster) NotifyLeave(n *memberlist.Node) { r.seen(n, false) }

// NotifyAlive implements memberlist.AliveDelegate: an error makes memberlist ignore
// a member that cannot be one.
func (r *roster) NotifyAlive(n *memberlist.Node) error {
	if n.Name == r.self {
		return nil
	}
	address, ok := netip.AddrFromSlice(n.Addr)
	address = address.Unmap()
	if !ok || address.IsUnspecified() || address.IsMulticast() || n.Port == 0 {
		return errors.New("its address is not one of a machine")
	}
	if n.Name == "" || cut(n.Name, maxName) != n.Name {
		return errors.New("its id is not one of a node")
	}
	if len(n.Meta) > memberlist.MetaMaxSize {
		return errors.New("it says too much of itself")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if m, known := r.members[n.Name]; known && m.Alive {
		return nil
	}
	alive := 0
	for _, m := range r.members {
		if m.Alive {
			alive++
		}
	}
	if alive >= maxMembers {
		return errors.New("there are too many members already")
	}
	return nil
}

// NotifyConflict implements memberlist.ConflictDelegate: other has the id of
// existing, which is alive elsewhere.
func (r *roster) NotifyConflict(existing, other *memberlist.Node) {
	if existing.Name != r.self {
		return // its peers see it, and the address is taken over when the old one is dead
	}
	address, _ := netip.AddrFromSlice(other.Addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.twinLast) > twinGap {
		r.twinFirst = now
	}
	r.twin, r.twinLast = netip.AddrPortFrom(address.Unmap(), other.Port).String(), now
	poke(r.changed)
}

func (r *roster) theTwin() (string, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.twin == "" || time.Since(r.twinLast) > twinGap {
		return "", time.Time{}
	}
	return r.twin, r.twinFirst
}

// NodeMeta implements memberlist.Delegate.
func (r *roster) NodeMeta(int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.saying
}

// NotifyMsg implements memberlist.Delegate: no node sends messages of its own.
func (r *roster) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate: there are none.
func (r *roster) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate: there is none beside the members.
func (r *roster) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (r *roster) MergeRemoteState([]byte, bool) {}
