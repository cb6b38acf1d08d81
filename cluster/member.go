package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/internal/service"
)

// ringTime is how long a node that starts waits for the present keys of the gossip before it
// speaks to others with those that it has.
const ringTime = 3 * time.Second

// Ring is the keys of the gossip, the primary one first, and how often they were changed.
// Removed are the ids of the nodes that must not have them.
type Ring struct {
	Keys    [][]byte `json:"keys"`
	Rev     int      `json:"rev"`
	Removed []string `json:"removed"`
}

// Ring returns what the node has.
func (c *Cluster) Ring() Ring {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Ring{Keys: c.state.GossipKeys, Rev: c.state.GossipRev, Removed: c.state.Removed}
}

// UseRing takes newer keys, on disk first, and tells the others that the node has them. The
// removed nodes of the ring are added to those that the node knows: the database may be away.
func (c *Cluster) UseRing(r Ring) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.identity == nil || r.Rev <= c.state.GossipRev || len(r.Keys) == 0 {
		return nil
	}
	next := c.state
	next.GossipKeys, next.GossipRev = r.Keys, r.Rev
	for _, node := range r.Removed {
		if !slices.Contains(next.Removed, node) && len(next.Removed) < maxMembers {
			next.Removed = append(slices.Clone(next.Removed), node)
		}
	}
	if err := next.write(c.o.Dir); err != nil {
		return err
	}
	c.refuse(next.Removed)
	c.state = next
	c.publish()
	if c.gossip == nil {
		return nil
	}
	// Under the lock: of two that come at once the newer one counts.
	if err := c.gossip.UseKeys(r.Keys); err != nil {
		return fmt.Errorf("use new keys of the gossip: %w", err)
	}
	c.gossip.Say(c.meta())
	return nil
}

// refuse makes these the removed nodes, and ends the connections of those that were none
// before. The caller holds mu.
func (c *Cluster) refuse(nodes []string) {
	known := c.removed
	c.removed = make(map[string]bool, len(nodes))
	for _, node := range nodes {
		c.removed[node] = true
		if known[node] || c.port == nil {
			continue
		}
		c.port.Drop(node)
	}
	c.told(c.removed[c.o.Node])
}

// told takes down whether this node was removed. The caller holds mu.
func (c *Cluster) told(removed bool) {
	if removed && !c.gone {
		c.log.Error("this node was removed from its cluster; it goes on serving the functions of its disk copy, and hears of no change. `picloud node reset` empties its data folder, so that it can join as a new node")
	}
	c.gone = removed
}

// Removed reports whether this node has heard that it was removed from its cluster.
func (c *Cluster) Removed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// refusedBy takes down why another member did not let this node in.
func (c *Cluster) refusedBy(err error) {
	if !errors.Is(err, port.ErrLetIn) || !errors.Is(err, port.ErrRemoved) {
		return
	}
	c.mu.Lock()
	was := c.gone
	c.told(true)
	c.mu.Unlock()
	if !was {
		c.o.Changed() // so that somebody looks whether it is true
	}
}

// catchUp gets the present keys of the gossip, while known keeps the gossip from speaking.
// The caller holds mu.
func (c *Cluster) catchUp() {
	if c.o.CatchUp == nil || len(c.state.Members) == 0 {
		close(c.ringed)
		return
	}
	ringed := c.ringed
	c.catching = service.Go(context.Background(), func(ctx context.Context) {
		defer close(ringed)
		ctx, cancel := context.WithTimeout(ctx, ringTime)
		defer cancel()
		c.o.CatchUp(ctx)
	})
}

// Now returns the time for certificates.
func (c *Cluster) Now() time.Time { return c.o.Now() }

// Validity returns when to ask for the next certificate, and when this one runs out; zero
// if the node is alone.
func (c *Cluster) Validity() (renew, expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.identity == nil {
		return renew, expires
	}
	return c.identity.RenewAt(), c.identity.Expires()
}

// Expired reports whether the node's certificate ran out, so that no member lets it in.
func (c *Cluster) Expired() bool {
	_, expires := c.Validity()
	return !expires.IsZero() && c.o.Now().After(expires)
}

// Renew replaces the node's certificate, on disk first. Open connections stay.
func (c *Cluster) Renew(leafPEM, rootsPEM []byte) error {
	c.mu.Lock()
	id := c.identity
	c.mu.Unlock()
	if id == nil {
		return errors.New("renew certificate: this node is alone")
	}
	return id.Replace(leafPEM, rootsPEM)
}
