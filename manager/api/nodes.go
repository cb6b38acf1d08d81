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
	// SetLimits replaces the limits that a node gives. Only cluster admins may.
	SetLimits(ctx context.Context, actor picloud.Actor, name string, limits picloud.Limits) (picloud.Node, error)
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

// GetNode answers GET /nodes/{node}.
func (s *server) GetNode(ctx context.Context, r GetNodeRequestObject) (GetNodeResponseObject, error) {
	n, err := s.node(ctx, r.Node)
	if err != nil {
		return nil, err
	}
	return GetNode200JSONResponse(n), nil
}

// UpdateNode answers PATCH /nodes/{node}.
func (s *server) UpdateNode(ctx context.Context, r UpdateNodeRequestObject) (UpdateNodeResponseObject, error) {
	patch, err := readPatch[nodePatch](*r.Body)
	if err != nil {
		return nil, err
	}
	n, err := s.node(ctx, r.Node)
	if err != nil {
		return nil, err
	}
	limits, err := apply(n.Limits, patch["limits"])
	if err == nil {
		err = within("", limits.Check())
	}
	if err != nil {
		return nil, err
	}
	if n, err = s.o.Nodes.SetLimits(ctx, actor(ctx), r.Node, limits); err != nil {
		return nil, err
	}
	return UpdateNode200JSONResponse(n), nil
}

// node finds a node by its name.
func (s *server) node(ctx context.Context, name string) (picloud.Node, error) {
	nodes, err := s.o.Nodes.List(ctx)
	if err != nil {
		return picloud.Node{}, err
	}
	at := slices.IndexFunc(nodes, func(n picloud.Node) bool { return n.Name == name })
	if at < 0 {
		return picloud.Node{}, &picloud.Error{Code: picloud.CodeNotFound, Op: "get node", Resource: name, Hint: "GET /api/v1/nodes lists the nodes"}
	}
	return nodes[at], nil
}
