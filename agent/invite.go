package agent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/cluster/token"
	"github.com/picloud/picloud/internal/postgres/fleet"
	"github.com/picloud/picloud/internal/seal"
)

// What the cluster's key seals of the cluster itself.
const (
	sealedCA     = "ca-key"
	sealedGossip = "gossip-keys"
)

// gossipKey is the length of a key of the gossip, in bytes: AES-256.
const gossipKey = 32

// Invite makes an invitation. With the first one this node ceases to be alone: it makes the
// cluster's CA and listens to other nodes. Address is where a new node finds this one.
func (a *Agent) Invite(ctx context.Context, actor picloud.Actor, i picloud.Invitation, life time.Duration) (made picloud.Invitation, text, address string, err error) {
	if !actor.Admin {
		return i, "", "", &picloud.Error{Code: picloud.CodeForbidden, Op: "invite node", Detail: "only cluster admins may"}
	}
	i.ExpiresAt = time.Now().Add(life)
	if err := i.Check(time.Now()); err != nil {
		return i, "", "", err
	}
	authority, keys, err := a.authority(ctx)
	if err != nil {
		return i, "", "", err
	}
	t := token.New(authority.Pin())
	i.ID = hex.EncodeToString(t.ID[:])
	if a.cluster.Member() { // its ports may have been taken when it became one
		if err := a.hearOthers(ctx); err != nil {
			return i, "", "", err
		}
	}
	// As the last change of a node that is alone: a cluster of several elects its manager first.
	if made, err = a.database.Invitations().Create(ctx, actor, i, life, t.SecretHash()); err != nil {
		return i, "", "", err
	}
	if err := a.found(ctx, authority, keys); err != nil {
		return i, "", "", err
	}
	return made, t.Text(), a.cluster.State().Address, nil
}

// gossipKeys are the keys of the gossip, the primary one first.
type gossipKeys struct {
	keys [][]byte
	rev  int
}

// authority opens the cluster's CA, or makes it when there is none. Both its key and the
// gossip's are in the database, sealed by the cluster's key.
func (a *Agent) authority(ctx context.Context) (*identity.Authority, gossipKeys, error) {
	key, err := a.vault.Key()
	if err != nil {
		return nil, gossipKeys{}, err
	}
	store := a.database.Cluster()
	kept, err := store.Authority(ctx)
	if errors.Is(err, picloud.ErrNotFound) {
		kept, err = a.makeAuthority(ctx, key)
	}
	if err != nil {
		return nil, gossipKeys{}, err
	}
	return a.opened(kept)
}

// opened opens the cluster's authority.
func (a *Agent) opened(kept fleet.Authority) (*identity.Authority, gossipKeys, error) {
	key, err := a.vault.Key()
	if err != nil {
		return nil, gossipKeys{}, err
	}
	der, err := key.Open(sealedCA, kept.Key)
	if err != nil {
		return nil, gossipKeys{}, sealedBy("CA", err)
	}
	authority, err := identity.OpenAuthority(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: kept.Certificate}), der)
	if err != nil {
		return nil, gossipKeys{}, err
	}
	ring, err := key.Open(sealedGossip, kept.GossipKeys)
	if err != nil || len(ring) == 0 || len(ring)%gossipKey != 0 {
		return nil, gossipKeys{}, sealedBy("gossip keys", err)
	}
	g := gossipKeys{rev: kept.GossipRev}
	for ; len(ring) > 0; ring = ring[gossipKey:] {
		g.keys = append(g.keys, ring[:gossipKey:gossipKey])
	}
	return authority, g, nil
}

func (a *Agent) makeAuthority(ctx context.Context, key *seal.ClusterKey) (kept fleet.Authority, err error) {
	store := a.database.Cluster()
	facts, err := store.Facts(ctx)
	if err != nil {
		return kept, err
	}
	authority, err := identity.NewAuthority(facts.ID, time.Now())
	if err != nil {
		return kept, err
	}
	ring := make([]byte, gossipKey)
	rand.Read(ring) // never fails
	block, _ := pem.Decode(authority.Certificate())
	return store.ClaimAuthority(ctx, fleet.Authority{
		Certificate: block.Bytes, Key: key.Seal(sealedCA, authority.KeyDER()), GossipKeys: key.Seal(sealedGossip, ring),
	})
}

func sealedBy(what string, cause error) error {
	return &picloud.Error{
		Code: picloud.CodeSecrets, Op: "open the cluster's " + what, Detail: "the cluster's key of this node does not open it", Err: cause,
		Hint: "copy " + seal.FileName + " from the data folder of another node, or from your backup",
	}
}

// hearOthers makes a member listen to other nodes, and waits a moment until it has its epoch, if it is the
// one that manages.
func (a *Agent) hearOthers(ctx context.Context) error {
	if err := a.cluster.Listen(); err != nil {
		return err
	}
	if err := a.election.begin(); err != nil {
		return err
	}
	a.awaitLeader(ctx)
	return nil
}

// found makes this node, if it is alone, the first member.
func (a *Agent) found(ctx context.Context, authority *identity.Authority, keys gossipKeys) error {
	if a.cluster.Member() {
		return nil
	}
	facts, err := a.database.Cluster().Facts(ctx)
	if err != nil {
		return err
	}
	csr, err := a.cluster.Request()
	if err != nil {
		return err
	}
	leaf, err := authority.Sign(identity.Request{Node: a.identity.ID, Name: a.opts.NodeName, Role: identity.Manager, CSR: csr}, a.cluster.Now())
	if err != nil {
		return err
	}
	state := cluster.State{
		Cluster: facts.ID, Name: facts.Name, Address: a.cluster.Advertised(), Database: join.Database{DSN: a.opts.DatabaseURL},
		GossipKeys: keys.keys, GossipRev: keys.rev,
	}
	if a.opts.DatabaseURL == "" {
		state.Database.Host = a.identity.ID
	}
	if err := a.cluster.Enter(state, leaf, authority.Certificate()); err != nil {
		return err
	}
	if err := a.election.begin(); err != nil {
		return err
	}
	a.keepDumps()
	a.log.Info("this node invites others now, and listens to them", slog.String("address", state.Address))
	a.database.syncer.Wake() // the others find its address in its report
	return nil
}

// admit makes a node a member that shows the token of an invitation.
func (a *Agent) admit(ctx context.Context, r join.Request, from netip.Addr) (answer join.Answer, err error) {
	t, err := token.Parse(r.Token)
	if err != nil {
		return answer, err
	}
	if a.serves() {
		return a.admitElsewhere(ctx, r, from)
	}
	if err := a.database.closed(); err != nil {
		return answer, err
	}
	authority, keys, err := a.authority(ctx)
	if err != nil {
		return answer, err
	}
	if t.Pin != authority.Pin() {
		return answer, &picloud.Error{Code: picloud.CodeInvitation, Op: "join", Resource: r.Name, Detail: "the token is one of another cluster", Hint: "make one with `picloud node invite` here"}
	}
	digest, err := keyDigest(r.CSR)
	if err != nil {
		return answer, &picloud.Error{Code: picloud.CodeInvalid, Op: "join", Resource: r.Name, Detail: "the request for a certificate cannot be read", Err: err}
	}
	host := r.Advertise
	if host == "" {
		host = from.WithZone("").String()
	}
	address := net.JoinHostPort(host, strconv.Itoa(r.ClusterPort))
	role, err := a.database.Invitations().Admit(ctx, fleet.Admission{
		Invitation: t.ID[:], Secret: t.SecretHash(), KeyDigest: digest[:],
		ID: r.Node, Name: r.Name, Version: r.Version, Arch: r.Arch, Address: address,
	})
	if err != nil {
		return answer, err
	}
	database, err := a.roleFor(ctx, r.Node, role)
	if err != nil {
		return answer, err
	}
	if err := a.database.Roles().LockOut(ctx); err != nil { // a dead node whose name this one has is removed
		a.log.Warn("a removed node may still have a session with the database", slog.Any("error", err))
	}
	leaf, err := authority.Sign(identity.Request{Node: r.Node, Name: r.Name, Role: identity.Role(role), CSR: r.CSR}, a.cluster.Now())
	if err != nil {
		return answer, err
	}
	key, err := a.vault.Key()
	if err != nil {
		return answer, err
	}
	state := a.cluster.State()
	return join.Answer{
		Cluster: state.Cluster, Name: state.Name, Role: role, Address: address, Certificate: leaf, Roots: a.cluster.RootsPEM(),
		GossipKeys: keys.keys, GossipRev: keys.rev, ClusterKey: key.Text(), Database: database, Self: a.identity.ID,
		Members: append(foremost(state.Members), a.asMember()), Time: a.cluster.Now(),
	}, nil
}

// maxToldMembers bounds the members that a new one is told of, so that its answer fits into
// a message. It learns of the others from the database.
const maxToldMembers = 63

// foremost are the members that a new one needs first: those that may manage.
func foremost(members []join.Member) []join.Member {
	var told, rest []join.Member
	for _, m := range members {
		if m.Role == picloud.RoleManager {
			told = append(told, m)
		} else {
			rest = append(rest, m)
		}
	}
	told = append(told, rest...)
	return told[:min(len(told), maxToldMembers)]
}

// asMember is this node as others reach it.
func (a *Agent) asMember() join.Member {
	address := a.cluster.State().Address
	return join.Member{
		Node: a.identity.ID, Name: a.opts.NodeName, Role: picloud.NodeRole(a.cluster.Peer().Role), Address: address,
		Gossip: net.JoinHostPort(cluster.HostOf(address), strconv.Itoa(a.opts.GossipPort)),
	}
}

// keyDigest is the digest of the public key that a certificate is asked for.
func keyDigest(csr []byte) ([sha256.Size]byte, error) {
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(request.RawSubjectPublicKeyInfo), nil
}
