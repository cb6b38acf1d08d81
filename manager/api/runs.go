package api

import (
	"context"
	"fmt"

	"github.com/picloud/picloud"
)

// defaultRuns is how many records are listed when the caller does not say.
const defaultRuns = 50

// Runs keeps the records of recent calls on this node.
type Runs interface {
	// Invocations returns the newest records of an app's function, or of all its
	// functions if function is empty, the newest first.
	Invocations(app, function string, limit int) []picloud.Invocation
	// Invocation finds a record by the call's id.
	Invocation(id string) (picloud.Invocation, bool)
}

// ListInvocations answers GET /invocations.
func (s *server) ListInvocations(ctx context.Context, r ListInvocationsRequestObject) (ListInvocationsResponseObject, error) {
	p, err := page(r.Params.Limit, nil)
	if err != nil {
		return nil, err
	}
	if p.Limit == 0 {
		p.Limit = defaultRuns
	}
	var function string
	if r.Params.Function != nil {
		function = *r.Params.Function
	}
	if function == "" {
		_, _, err = s.o.Apps.Get(ctx, actor(ctx), r.Params.App)
	} else {
		_, err = s.o.Functions.Get(ctx, actor(ctx), r.Params.App, function)
	}
	if err != nil {
		return nil, err
	}
	return ListInvocations200JSONResponse{Items: list(s.o.Runs.Invocations(r.Params.App, function, p.Limit))}, nil
}

// GetInvocation answers GET /invocations/{id}, to members of the call's app.
func (s *server) GetInvocation(ctx context.Context, r GetInvocationRequestObject) (GetInvocationResponseObject, error) {
	missing := &picloud.Error{
		Code: picloud.CodeNotFound, Op: "get invocation", Resource: picloud.Shorten(r.ID, 80),
		Detail: "this node has no record of it", Hint: fmt.Sprintf("records are kept on the node that served the call, until it restarts; this is %s", s.o.Node),
	}
	record, ok := s.o.Runs.Invocation(r.ID)
	if !ok {
		return nil, missing
	}
	if _, _, err := s.o.Apps.Get(ctx, actor(ctx), record.App); err != nil {
		if picloud.CodeOf(err) == picloud.CodeNotFound {
			err = missing // whether the call happened is not for strangers
		}
		return nil, err
	}
	return GetInvocation200JSONResponse(record), nil
}
