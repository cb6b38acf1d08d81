package api

import (
	"context"
	"slices"
	"strings"

	"github.com/picloud/picloud"
)

// NodeStore keeps the nodes of the cluster, which are few.
type NodeStore interface {
	List(ctx context.Context) ([]picloud.Node, error)
	// ChangeLimits replaces the limits that a node gives by what change makes of
	// them, and nobody else's change comes between. It returns the catalog's
	// revision that has the limits. Only cluster admins may.
	ChangeLimits(ctx context.Context, actor picloud.Actor, name string, change func(picloud.Limits) (picloud.Limits, error)) (n picloud.Node, rev int64, err error)
}

// ListNodes answers GET /nodes.
func (s *server) ListNodes(ctx context.Context, _ ListNodesRequestObject) (ListNodesResponseObject, error) {
	nodes, err := s.o.Nodes.List(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(nodes, func(a, b picloud.Node) int { return strings.Compare(a.Name, b.Name) })
	return ListNodes200JSONResponse{Items: list(nodes)}, nil
}

// GetNode answers GET /nodes/{node}: of several that had the name, the one that
// was seen last.
func (s *server) GetNode(ctx context.Context, r GetNodeRequestObject) (GetNodeResponseObject, error) {
	nodes, err := s.o.Nodes.List(ctx)
	if err != nil {
		return nil, err
	}
	nodes = slices.DeleteFunc(nodes, func(n picloud.Node) bool { return n.Name != r.Node })
	if len(nodes) == 0 {
		return nil, &picloud.Error{Code: picloud.CodeNotFound, Op: "get node", Resource: r.Node, Hint: "GET /api/v1/nodes lists the nodes"}
	}
	return GetNode200JSONResponse(slices.MaxFunc(nodes, func(a, b picloud.Node) int { return a.SeenAt.Compare(b.SeenAt) })), nil
}

// UpdateNode answers PATCH /nodes/{node}.
func (s *server) UpdateNode(ctx context.Context, r UpdateNodeRequestObject) (UpdateNodeResponseObject, error) {
	patch, err := readPatch[nodePatch](*r.Body)
	if err != nil {
		return nil, err
	}
	n, _, err := s.o.Nodes.ChangeLimits(ctx, actor(ctx), r.Node, func(present picloud.Limits) (picloud.Limits, error) {
		limits, err := apply(present, patch["limits"])
		if err == nil {
			err = within("", limits.Check())
		}
		return limits, err
	})
	if err != nil {
		return nil, err
	}
	s.o.Manager.Settle(ctx)
	return UpdateNode200JSONResponse(n), nil
}
