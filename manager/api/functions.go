package api

import (
	"context"

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

// FunctionWriter changes functions. A revision that is not the one of match is
// ErrPrecondition.
type FunctionWriter interface {
	Create(ctx context.Context, actor picloud.Actor, app, name string, settings picloud.Settings) (picloud.Function, error)
	UpdateSettings(ctx context.Context, actor picloud.Actor, app, name string, settings picloud.Settings, match picloud.Match) (picloud.Function, error)
	// Delete returns the catalog's revision without the function.
	Delete(ctx context.Context, actor picloud.Actor, app, name string, match picloud.Match) (rev int64, err error)
}

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
	if err := within("settings", r.Body.Settings.Check()); err != nil {
		return nil, err
	}
	f, err := s.o.Functions.Create(ctx, actor(ctx), r.App, r.Body.Name, r.Body.Settings)
	if err != nil {
		return nil, err
	}
	location := appPath(f.App) + "/functions/" + f.Name
	return CreateFunction201JSONResponse{Body: f, Headers: CreateFunction201ResponseHeaders{ETag: etag(f.Rev), Location: location}}, nil
}

// GetFunction answers GET /apps/{app}/functions/{function}.
func (s *server) GetFunction(ctx context.Context, r GetFunctionRequestObject) (GetFunctionResponseObject, error) {
	f, err := s.o.Functions.Get(ctx, actor(ctx), r.App, r.Function)
	if err != nil {
		return nil, err
	}
	return GetFunction200JSONResponse{Body: f, Headers: GetFunction200ResponseHeaders{ETag: etag(f.Rev)}}, nil
}

// UpdateFunction answers PATCH /apps/{app}/functions/{function}. The merge
// happens here, on the revision that was read, and the store writes it only on
// top of that revision.
func (s *server) UpdateFunction(ctx context.Context, r UpdateFunctionRequestObject) (UpdateFunctionResponseObject, error) {
	patch, err := readPatch[functionPatch](*r.Body)
	if err != nil {
		return nil, err
	}
	f, err := onTop(r.Params.IfMatch, func() (picloud.Function, error) {
		f, err := s.functionAt(ctx, "change function", r.App, r.Function, r.Params.IfMatch)
		if err != nil {
			return f, err
		}
		settings, err := apply(f.Settings, patch["settings"])
		if err == nil {
			err = within("settings", settings.Check())
		}
		if err != nil {
			return f, err
		}
		return s.o.Functions.UpdateSettings(ctx, actor(ctx), r.App, r.Function, settings, picloud.MatchVersion(f.Rev))
	})
	if err != nil {
		return nil, err
	}
	s.o.Manager.Settle(ctx)
	return UpdateFunction200JSONResponse{Body: f, Headers: UpdateFunction200ResponseHeaders{ETag: etag(f.Rev)}}, nil
}

// DeleteFunction answers DELETE /apps/{app}/functions/{function}.
func (s *server) DeleteFunction(ctx context.Context, r DeleteFunctionRequestObject) (DeleteFunctionResponseObject, error) {
	match := picloud.MatchAny
	if r.Params.IfMatch != nil {
		f, err := s.functionAt(ctx, "delete function", r.App, r.Function, r.Params.IfMatch)
		if err != nil {
			return nil, err
		}
		match = picloud.MatchVersion(f.Rev)
	}
	if _, err := s.o.Functions.Delete(ctx, actor(ctx), r.App, r.Function, match); err != nil {
		return nil, err
	}
	s.o.Manager.Settle(ctx)
	return DeleteFunction204Response{}, nil
}

// functionAt reads a function and checks that it is the one of If-Match.
func (s *server) functionAt(ctx context.Context, op, app, function string, ifMatch *string) (picloud.Function, error) {
	f, err := s.o.Functions.Get(ctx, actor(ctx), app, function)
	if err == nil {
		err = precondition(op, app+"/"+function, ifMatch, f.Rev)
	}
	return f, err
}
