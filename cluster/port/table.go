package port

import (
	"fmt"
	"slices"
	"sync"
)

// table holds the open connections, and bounds them.
//
// Strangers are those whose other end is not known: in the handshake, or joining.
// They are never turned away. When there are too many, the oldest one goes, first
// of the same address: whoever holds places open loses them, and a good client,
// which needs a place for milliseconds, gets in.
//
// Members are trusted not to attack, but may be broken: each node has a share.
type table struct {
	maxMembers, maxPerNode      int
	maxStrangers, maxPerAddress int

	mu        sync.Mutex
	closed    bool
	strangers []*conn // the oldest first
	members   map[*conn]struct{}
	perNode   map[string]int
}

func newTable(maxMembers, maxPerAddress int) *table {
	return &table{
		maxMembers: maxMembers, maxPerNode: max(1, maxMembers/4),
		maxStrangers: 4 * maxPerAddress, maxPerAddress: maxPerAddress,
		members: map[*conn]struct{}{}, perNode: map[string]int{},
	}
}

// add takes a new connection in. It reports false, and closes it, when the table is
// closed.
func (t *table) add(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		c.kill()
		return false
	}
	first, same := -1, 0
	for i, other := range t.strangers {
		if other.source != c.source {
			continue
		}
		if same++; first < 0 {
			first = i
		}
	}
	if same < t.maxPerAddress {
		first = 0
	}
	if same >= t.maxPerAddress || len(t.strangers) >= t.maxStrangers {
		t.strangers[first].kill()
		t.strangers = slices.Delete(t.strangers, first, first+1)
	}
	t.strangers = append(t.strangers, c)
	return true
}

// admit makes a stranger a member, now that its peer is known.
func (t *table) admit(c *conn) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.members) >= t.maxMembers {
		return fmt.Errorf("%w: %d", ErrBusy, t.maxMembers)
	}
	if t.perNode[c.peer.Node] >= t.maxPerNode {
		return fmt.Errorf("%w: %d of node %s (%s) alone", ErrBusy, t.maxPerNode, c.peer.Name, c.peer.Node)
	}
	at := slices.Index(t.strangers, c)
	if at < 0 {
		return fmt.Errorf("%w: the connection was closed for newer ones", ErrBusy)
	}
	t.strangers = slices.Delete(t.strangers, at, at+1)
	t.members[c] = struct{}{}
	t.perNode[c.peer.Node]++
	c.member = true
	return nil
}

func (t *table) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !c.member {
		if at := slices.Index(t.strangers, c); at >= 0 {
			t.strangers = slices.Delete(t.strangers, at, at+1)
		}
		return
	}
	delete(t.members, c)
	if t.perNode[c.peer.Node]--; t.perNode[c.peer.Node] == 0 {
		delete(t.perNode, c.peer.Node)
	}
}

func (t *table) drop(node string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.members {
		if c.peer.Node == node {
			c.kill()
		}
	}
}

func (t *table) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, c := range t.strangers {
		c.kill()
	}
	for c := range t.members {
		c.kill()
	}
}
