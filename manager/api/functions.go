package api

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
)

// FunctionStore keeps functions and their settings.
type FunctionStore interface {
	FunctionReader
	FunctionWriter
}

// FunctionReader reads functions.
type FunctionReader interface {
	Get(ctx context.Context, actor picloud.Actor, app, name string) (picloud.Function, error)
	List(ctx context.Context, actor picloud.Actor, app string, page picloud.Page) (items []picloud.Function, next string, err error)
}

// FunctionWriter changes functions. A revision that is not the present one is
// ErrPrecondition; in Delete, 0 is any.
type FunctionWriter interface {
	Create(ctx context.Context, actor picloud.Actor, app, name string, settings picloud.Settings) (picloud.Function, error)
	UpdateSettings(ctx context.Context, actor picloud.Actor, app, name string, settings picloud.Settings, ifRev int64) (picloud.Function, error)
	Delete(ctx context.Context, actor picloud.Actor, app, name string, ifRev int64) error
}

// updateAttempts bounds how often a change without If-Match is made again
// because somebody else's came between.
const updateAttempts = 10

// ListFunctions answers GET /apps/{app}/functions.
func (s *server) ListFunctions(ctx context.Context, r ListFunctionsRequestObject) (ListFunctionsResponseObject, error) {
	p, err := page(r.Params.Limit, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	items, next, err := s.o.Functions.List(ctx, actor(ctx), r.App, p)
	if err != nil {
		return nil, err
	}
	return ListFunctions200JSONResponse{Items: list(items), Next: next}, nil
}

// CreateFunction answers POST /apps/{app}/functions.
func (s *server) CreateFunction(ctx context.Context, r CreateFunctionRequestObject) (CreateFunctionResponseObject, error) {
	if err := picloud.CheckName("name", r.Body.Name); err != nil {
		return nil, err
	}
	if err := checkSettings(r.Body.Settings); err != nil {
		return nil, err
	}
	f, err := s.o.Functions.Create(ctx, actor(ctx), r.App, r.Body.Name, r.Body.Settings)
	if err != nil {
		return nil, err
	}
	location := appPath(f.App) + "/functions/" + f.Name
	return CreateFunction201JSONResponse{Body: f, Headers: CreateFunction201ResponseHeaders{ETag: etag(f), Location: location}}, nil
}

// GetFunction answers GET /apps/{app}/functions/{function}.
func (s *server) GetFunction(ctx context.Context, r GetFunctionRequestObject) (GetFunctionResponseObject, error) {
	f, err := s.o.Functions.Get(ctx, actor(ctx), r.App, r.Function)
	if err != nil {
		return nil, err
	}
	return GetFunction200JSONResponse{Body: f, Headers: GetFunction200ResponseHeaders{ETag: etag(f)}}, nil
}

// UpdateFunction answers PATCH /apps/{app}/functions/{function}. The merge
// happens here, on the revision that was read, and the store writes it only on
// top of that revision.
func (s *server) UpdateFunction(ctx context.Context, r UpdateFunctionRequestObject) (UpdateFunctionResponseObject, error) {
	patch, err := readPatch(*r.Body)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		f, err := s.precondition(ctx, "change function", r.App, r.Function, r.Params.IfMatch)
		if err != nil {
			return nil, err
		}
		settings, err := patch.apply(f.Settings)
		if err != nil {
			return nil, err
		}
		f, err = s.o.Functions.UpdateSettings(ctx, actor(ctx), r.App, r.Function, settings, f.Rev)
		if errors.Is(err, picloud.ErrPrecondition) && r.Params.IfMatch == nil && attempt < updateAttempts {
			continue // somebody else's change came between: merge on top of it
		}
		if err != nil {
			return nil, err
		}
		return UpdateFunction200JSONResponse{Body: f, Headers: UpdateFunction200ResponseHeaders{ETag: etag(f)}}, nil
	}
}

// DeleteFunction answers DELETE /apps/{app}/functions/{function}.
func (s *server) DeleteFunction(ctx context.Context, r DeleteFunctionRequestObject) (DeleteFunctionResponseObject, error) {
	var rev int64
	if r.Params.IfMatch != nil {
		f, err := s.precondition(ctx, "delete function", r.App, r.Function, r.Params.IfMatch)
		if err != nil {
			return nil, err
		}
		rev = f.Rev
	}
	if err := s.o.Functions.Delete(ctx, actor(ctx), r.App, r.Function, rev); err != nil {
		return nil, err
	}
	return DeleteFunction204Response{}, nil
}

// precondition reads a function and checks that it is the one of If-Match.
func (s *server) precondition(ctx context.Context, op, app, function string, ifMatch *string) (picloud.Function, error) {
	f, err := s.o.Functions.Get(ctx, actor(ctx), app, function)
	if err == nil && ifMatch != nil && !matches(*ifMatch, etag(f)) {
		err = &picloud.Error{
			Code: picloud.CodePrecondition, Op: op, Resource: app + "/" + function,
			Detail: "its ETag is " + etag(f), Hint: "read it again and repeat the change",
		}
	}
	return f, err
}

// etag names the state of a function.
func etag(f picloud.Function) string { return strconv.Quote(strconv.FormatInt(f.Rev, 10)) }

// matches compares If-Match with an ETag, strongly (RFC 9110, 13.1.1).
func matches(ifMatch, etag string) bool {
	for candidate := range strings.SplitSeq(ifMatch, ",") {
		if c := strings.TrimSpace(candidate); c == etag || c == "*" {
			return true
		}
	}
	return false
}
