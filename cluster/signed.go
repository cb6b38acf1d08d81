package cluster

import (
	"errors"
	"fmt"

	"github.com/picloud/picloud/cluster/identity"
)

// Sign vouches for a message before the other nodes, if this node may manage: others have
// the rights of serving only, and nobody believes them. Subject says what kind it is.
func (c *Cluster) Sign(subject string, message []byte) (s identity.Signature, ok bool) {
	c.mu.Lock()
	id := c.identity
	c.mu.Unlock()
	if id == nil || id.Peer().Role != identity.Manager {
		return s, false
	}
	return id.Sign(subject, message), true
}

// Verify checks that a member which may manage vouches for a message.
func (c *Cluster) Verify(subject string, message []byte, s identity.Signature) error {
	c.mu.Lock()
	id := c.identity
	c.mu.Unlock()
	if id == nil {
		return errors.New("check signature: this node is alone")
	}
	peer, err := id.VerifySigned(subject, message, s, c.o.Now())
	switch {
	case err != nil:
		return err
	case peer.Role != identity.Manager:
		return fmt.Errorf("check signature: node %s (%s) serves functions only, and may not sign", peer.Name, peer.Node)
	case c.refused(peer.Node):
		return fmt.Errorf("check signature: node %s (%s) was removed", peer.Name, peer.Node)
	}
	return nil
}
