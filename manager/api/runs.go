package api

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

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
	keep, err := runFilter(r.Params.Status, r.Params.Since, time.Now())
	if err != nil {
		return nil, err
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
	if keep == nil {
		return ListInvocations200JSONResponse{Items: list(s.o.Runs.Invocations(r.Params.App, function, p.Limit))}, nil
	}
	var items []picloud.Invocation
	for _, i := range s.o.Runs.Invocations(r.Params.App, function, math.MaxInt) { // what is kept is bounded
		if len(items) < p.Limit && keep(i) {
			items = append(items, i)
		}
	}
	return ListInvocations200JSONResponse{Items: list(items)}, nil
}

// runFilter says which records a caller asks for; nil: all of them.
func runFilter(status, since *string, now time.Time) (keep func(picloud.Invocation) bool, err error) {
	from, err := parseSince(since, now)
	if err != nil {
		return nil, err
	}
	matches, err := parseStatus(status)
	switch {
	case err != nil:
		return nil, err
	case from.IsZero():
		return matches, nil
	}
	return func(i picloud.Invocation) bool {
		return !i.Started.Before(from) && (matches == nil || matches(i))
	}, nil
}

// parseStatus reads a status code, a class of them, or how a call went.
func parseStatus(text *string) (func(picloud.Invocation) bool, error) {
	if text == nil || *text == "" {
		return nil, nil
	}
	failed := func(i picloud.Invocation) bool { return i.Code != "" || i.Status >= 500 }
	switch *text {
	case "failed":
		return failed, nil
	case "ok":
		return func(i picloud.Invocation) bool { return !failed(i) }, nil
	}
	digits, isClass := strings.CutSuffix(*text, "xx")
	n, err := strconv.Atoi(digits)
	switch {
	case err == nil && isClass && len(digits) == 1 && n >= 1 && n <= 5:
		return func(i picloud.Invocation) bool { return i.Status/100 == n }, nil
	case err == nil && !isClass && len(digits) == 3 && n >= 100 && n <= 599:
		return func(i picloud.Invocation) bool { return i.Status == n }, nil
	}
	return nil, invalid("status", "must be a status code such as 500, a class such as 5xx, failed or ok")
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
