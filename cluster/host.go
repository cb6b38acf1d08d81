package cluster

import (
	"log/slog"
	"slices"

	"github.com/picloud/picloud/cluster/gossip"
	"github.com/picloud/picloud/cluster/join"
)

// Moved says that the database of the cluster was brought up on another node. Whoever says it
// has shown the certificate of a node that may manage the cluster.
type Moved struct {
	// Host runs the database now. Others reach it through that node's cluster port.
	Host string `json:"host"`
	// Generation counts how often the database was brought up elsewhere. It only grows.
	Generation int64 `json:"generation"`
	// Removed are the nodes that are no members any more: the host before, for one.
	Removed []string `json:"removed"`
}

// After reports whether m is newer than what is known. Two restores at the same time make the
// same generation: then the host with the greater id has the database, for everybody.
func (m Moved) After(known join.Database) bool {
	return m.Generation > known.Generation || m.Generation == known.Generation && m.Generation > 0 && m.Host > known.Host
}

// Follow takes over where the database is, on disk first, if that is newer than what the node
// knows. It reports whether it was. The removed nodes are refused from then on: a node reaches
// one of the two databases, and never both. A cluster whose database is elsewhere follows nobody.
func (c *Cluster) Follow(m Moved) (news bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.state.Database
	if c.identity == nil || known.DSN != "" || m.Host == "" || !m.After(known) || slices.Contains(m.Removed, m.Host) {
		return false, nil
	}
	next := c.state
	next.Database.Host, next.Database.Generation = m.Host, m.Generation
	removed := m.Removed
	if m.Generation == known.Generation {
		removed = append(slices.Clone(removed), known.Host) // m does not know of it
	}
	for _, node := range removed {
		if !slices.Contains(next.Removed, node) && (len(next.Removed) < maxMembers || node == known.Host) {
			next.Removed = append(slices.Clone(next.Removed), node)
		}
	}
	next.Members = slices.DeleteFunc(slices.Clone(next.Members), func(m join.Member) bool { return slices.Contains(next.Removed, m.Node) })
	if err := next.write(c.o.Dir); err != nil {
		return false, err
	}
	c.state = next
	c.publish()
	c.refuse(next.Removed)
	c.log.Warn("the database of the cluster is on another node now", slog.String("host", m.Host), slog.Int64("generation", m.Generation))
	return true, nil
}

// Renounce takes down that this node's own database is not the cluster's any more: members
// refuse the node, though it runs the database as far as it knows. So another one took its place. It
// stays so over restarts; if that cannot be written, it is so until then, and the next call tries again.
func (c *Cluster) Renounce() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.identity == nil || slices.Contains(c.state.Removed, c.o.Node) && !c.unsaved {
		return nil
	}
	if !slices.Contains(c.state.Removed, c.o.Node) {
		c.state.Removed = append(slices.Clone(c.state.Removed), c.o.Node)
		c.refuse(c.state.Removed)
	}
	err := c.state.write(c.o.Dir)
	c.unsaved = err != nil
	return err
}

// meta is what the node says of itself. The caller holds mu.
func (c *Cluster) meta() gossip.Meta {
	m := c.o.Say()
	m.Name, m.Version = c.o.Name, c.o.Version
	m.Address, m.Role, m.KeyRev = c.state.Address, string(c.identity.Peer().Role), c.state.GossipRev
	if m.Hosts && m.Database {
		m.Generation = c.state.Database.Generation
	}
	return m
}
