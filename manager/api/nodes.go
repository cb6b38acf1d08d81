package api

import (
	"context"
	_ "embed"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// NodeStore keeps the nodes of the cluster, which are few.
type NodeStore interface {
	List(ctx context.Context) ([]picloud.Node, error)
	// ChangeLimits replaces the limits that a node gives by what change makes of
	// them, and nobody else's change comes between. It returns the catalog's
	// revision that has the limits. Only cluster admins may.
	ChangeLimits(ctx context.Context, actor picloud.Actor, name string, change func(picloud.Limits) (picloud.Limits, error)) (n picloud.Node, rev int64, err error)
	// Drain takes a node out of service, or puts it back. It returns the catalog's revision
	// that has it. Only cluster admins may.
	Drain(ctx context.Context, actor picloud.Actor, name string, drained bool) (n picloud.Node, rev int64, err error)
	// Promote lets a node that serves functions only manage the cluster, too. Only cluster
	// admins may.
	Promote(ctx context.Context, actor picloud.Actor, name string) (picloud.Node, error)
	// Remove removes a node that is dead, or with force one that is alive. Only cluster
	// admins may.
	Remove(ctx context.Context, actor picloud.Actor, name string, force bool) error
}

// InvitationStore keeps the invitations to the cluster, which are few.
type InvitationStore interface {
	// List returns the invitations that can still be used. Only cluster admins may.
	List(ctx context.Context, actor picloud.Actor) ([]picloud.Invitation, error)
	// Delete takes an invitation back. Only cluster admins may.
	Delete(ctx context.Context, actor picloud.Actor, id string) error
}

// Inviter makes invitations.
type Inviter interface {
	// Invite makes an invitation that is valid for life, and returns it with the text of
	// its token and the address at which a new node finds this one. Only cluster admins may.
	Invite(ctx context.Context, actor picloud.Actor, i picloud.Invitation, life time.Duration) (made picloud.Invitation, token, address string, err error)
}

// NodeStores are the stores of the area nodes.
type NodeStores struct {
	Nodes       NodeStore
	Invitations InvitationStore
	Inviter     Inviter
	State       ClusterStater
}

// ClusterStater knows the state of the cluster.
type ClusterStater interface {
	// ClusterState returns the state as this node sees it: the manager, or one that finds none.
	ClusterState(ctx context.Context) (picloud.ClusterState, error)
	// Unmanaged says that this node answers of its own knowledge: its name, why it finds no
	// manager, and what to do. All are empty when it manages the cluster.
	Unmanaged() (by, trouble, hint string)
}

// nodes is the area of the cluster's nodes, and of this node itself.
type nodes struct {
	NodeStores
	ready   func() error
	missing func() []string
}

func (a nodes) operations() []operation {
	return []operation{
		on("GET /api/v1/nodes", successes{200: nil}, a.listNodes),
		on("GET /api/v1/nodes/{node}", successes{200: nil}, a.getNode),
		change("PATCH /api/v1/nodes/{node}", successes{200: nil}, a.updateNode),
		on("DELETE /api/v1/nodes/{node}", successes{204: nil}, a.removeNode),
		change("POST /api/v1/nodes/{node}/drain", successes{200: nil}, a.drainNode),
		change("POST /api/v1/nodes/{node}/resume", successes{200: nil}, a.resumeNode),
		on("POST /api/v1/nodes/{node}/promote", successes{200: nil}, a.promoteNode),

		on("GET /api/v1/cluster", successes{200: nil}, a.getCluster),
		on("GET /api/v1/cluster/join-tokens", successes{200: nil}, a.listInvitations),
		on("POST /api/v1/cluster/join-tokens", successes{201: {"Location"}}, a.invite),
		on("DELETE /api/v1/cluster/join-tokens/{invitation}", successes{204: nil}, a.deleteInvitation),

		on("GET /api/v1/openapi.json", successes{200: nil}, a.getOpenAPI),
		on("GET /healthz", successes{200: nil}, a.getHealth),
		on("GET /readyz", successes{200: nil}, a.getReadiness),
	}
}

// listNodes answers GET /nodes.
func (a nodes) listNodes(ctx context.Context, _, _ none) (out answer[client.NodeList], err error) {
	nodes, err := a.Nodes.List(ctx)
	if err != nil {
		return out, err
	}
	slices.SortStableFunc(nodes, func(a, b picloud.Node) int { return strings.Compare(a.Name, b.Name) })
	l := client.NodeList{Items: list(nodes)}
	if a.State != nil {
		l.SeenBy, l.Trouble, l.Hint = a.State.Unmanaged()
	}
	return ok(l), nil
}

// getNode answers GET /nodes/{node}.
func (a nodes) getNode(ctx context.Context, p ofNode, _ none) (out answer[picloud.Node], err error) {
	nodes, err := a.Nodes.List(ctx)
	if err != nil {
		return out, err
	}
	i := slices.IndexFunc(nodes, func(n picloud.Node) bool { return n.Name == p.Node })
	if i < 0 {
		return out, &picloud.Error{Code: picloud.CodeNotFound, Op: "get node", Resource: p.Node, Hint: "GET /api/v1/nodes lists the nodes"}
	}
	return ok(nodes[i]), nil
}

// updateNode answers PATCH /nodes/{node}.
func (a nodes) updateNode(ctx context.Context, p ofNode, body patch[nodePatch]) (out answer[picloud.Node], rev int64, err error) {
	n, rev, err := a.Nodes.ChangeLimits(ctx, actor(ctx), p.Node, func(present picloud.Limits) (picloud.Limits, error) {
		limits, err := apply(present, body["limits"])
		if err == nil {
			err = within("", limits.Check())
		}
		return limits, err
	})
	return ok(n), rev, err
}

// removeNode answers DELETE /nodes/{node}. What nodes serve does not change.
func (a nodes) removeNode(ctx context.Context, p removeNodeParams, _ none) (out answer[nothing], err error) {
	return done(), a.Nodes.Remove(ctx, actor(ctx), p.Node, p.Force != nil && *p.Force)
}

// removeNodeParams are the parameters of removeNode.
type removeNodeParams struct {
	ofNode
	client.RemoveNodeParams
}

// drainNode answers POST /nodes/{node}/drain.
func (a nodes) drainNode(ctx context.Context, p ofNode, _ none) (out answer[picloud.Node], rev int64, err error) {
	n, rev, err := a.Nodes.Drain(ctx, actor(ctx), p.Node, true)
	return ok(n), rev, err
}

// resumeNode answers POST /nodes/{node}/resume.
func (a nodes) resumeNode(ctx context.Context, p ofNode, _ none) (out answer[picloud.Node], rev int64, err error) {
	n, rev, err := a.Nodes.Drain(ctx, actor(ctx), p.Node, false)
	return ok(n), rev, err
}

// promoteNode answers POST /nodes/{node}/promote. What nodes serve does not change.
func (a nodes) promoteNode(ctx context.Context, p ofNode, _ none) (out answer[picloud.Node], err error) {
	n, err := a.Nodes.Promote(ctx, actor(ctx), p.Node)
	return ok(n), err
}

// getCluster answers GET /cluster.
func (a nodes) getCluster(ctx context.Context, _, _ none) (out answer[picloud.ClusterState], err error) {
	state, err := a.State.ClusterState(ctx)
	return ok(state), err
}

// ofInvitation names an invitation.
type ofInvitation struct {
	Invitation string `path:"invitation"`
}

// listInvitations answers GET /cluster/join-tokens.
func (a nodes) listInvitations(ctx context.Context, _, _ none) (out answer[client.InvitationList], err error) {
	open, err := a.Invitations.List(ctx, actor(ctx))
	return ok(client.InvitationList{Items: list(open)}), err
}

// invite answers POST /cluster/join-tokens.
func (a nodes) invite(ctx context.Context, _ none, body object[client.NewInvitation]) (out answer[client.InvitationToken], err error) {
	i, life := picloud.Invitation{Role: picloud.RoleManager, Uses: 1}, picloud.DefaultInvitation
	if body.value.Role != nil {
		i.Role = *body.value.Role
	}
	if body.value.Uses != nil {
		i.Uses = *body.value.Uses
	}
	if body.value.TTL != nil {
		if life, err = time.ParseDuration(*body.value.TTL); err != nil {
			return out, &picloud.Error{Code: picloud.CodeInvalid, Op: "invite node", Resource: "ttl", Detail: "it is no duration", Hint: "write 30m, 1h or 24h"}
		}
	}
	made, token, address, err := a.Inviter.Invite(ctx, actor(ctx), i, life)
	if err != nil {
		return out, err
	}
	return created("/api/v1/cluster/join-tokens/"+made.ID, client.InvitationToken{
		ID: made.ID, Role: made.Role, Uses: made.Uses, CreatedBy: made.CreatedBy, CreatedAt: made.CreatedAt, ExpiresAt: made.ExpiresAt,
		Token: token, Address: address,
	}), nil
}

// deleteInvitation answers DELETE /cluster/join-tokens/{invitation}.
func (a nodes) deleteInvitation(ctx context.Context, p ofInvitation, _ none) (out answer[nothing], err error) {
	return done(), a.Invitations.Delete(ctx, actor(ctx), p.Invitation)
}

// contract is openapi.yaml as JSON.
//
//go:embed openapi.gen.json
var contract []byte

// getHealth answers GET /healthz: the process is alive.
func (a nodes) getHealth(context.Context, none, none) (out answer[client.Status], err error) {
	return ok(client.Status{Status: "alive"}), nil
}

// getReadiness answers GET /readyz. Everybody may ask, so the reason is the
// code's own title and hides what the node knows beyond it.
func (a nodes) getReadiness(context.Context, none, none) (out answer[client.Readiness], err error) {
	err = a.ready()
	if err == nil {
		r := client.Readiness{Status: client.ReadinessStatusReady, Missing: []string{}}
		if a.missing != nil {
			r.Missing = list(a.missing())
		}
		if len(r.Missing) > 0 {
			r.Status = client.ReadinessStatusDegraded
		}
		return ok(r), nil
	}
	reason := &picloud.Error{Code: picloud.CodeStarting}
	var e *picloud.Error
	if errors.As(err, &e) && errors.Is(e.Code.Entry().Kind, picloud.ErrUnavailable) {
		reason.Code, reason.RetryAfter = e.Code, e.RetryAfter
		if e.Code == picloud.CodeDraining {
			reason.Detail = e.Detail // it says who wants it so, and nothing of the node
		}
	}
	return out, reason
}

// getOpenAPI answers GET /openapi.json.
func (a nodes) getOpenAPI(context.Context, none, none) (out answer[document], err error) {
	return ok(document(contract)), nil
}

// document is JSON that is written as it is.
type document []byte

// send writes the document.
func (d document) send(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(d)
	return err
}
