package api

import (
	"context"
	"slices"
	"strings"

	"github.com/picloud/picloud"
)

// NodeStore lists the nodes of the cluster, which are few.
type NodeStore interface {
	List(ctx context.Context) ([]picloud.Node, error)
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
	nodes, err := s.o.Nodes.List(ctx)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(nodes, func(n picloud.Node) bool { return n.Name == r.Node })
	if at < 0 {
		return nil, &picloud.Error{Code: picloud.CodeNotFound, Op: "get node", Resource: r.Node, Hint: "GET /api/v1/nodes lists the nodes"}
	}
	return GetNode200JSONResponse(nodes[at]), nil
}
