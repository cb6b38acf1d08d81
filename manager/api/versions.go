package api

import (
	"context"
	"fmt"
	"math"

	"github.com/picloud/picloud"
)

// VersionStore reads versions and their code.
type VersionStore interface {
	List(ctx context.Context, actor picloud.Actor, app, function string, page picloud.Page) (items []picloud.Version, next string, err error)
	Get(ctx context.Context, actor picloud.Actor, app, function string, number int) (picloud.Version, error)
	Source(ctx context.Context, actor picloud.Actor, app, function string, number int) ([]byte, error)
}

// ListVersions answers GET /apps/{app}/functions/{function}/versions.
func (s *server) ListVersions(ctx context.Context, r ListVersionsRequestObject) (ListVersionsResponseObject, error) {
	p, err := page(r.Params.Limit, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	items, next, err := s.o.Versions.List(ctx, actor(ctx), r.App, r.Function, p)
	if err != nil {
		return nil, err
	}
	return ListVersions200JSONResponse{Items: list(items), Next: next}, nil
}

// GetVersion answers GET /apps/{app}/functions/{function}/versions/{version}.
func (s *server) GetVersion(ctx context.Context, r GetVersionRequestObject) (GetVersionResponseObject, error) {
	if err := checkVersion(r.Version); err != nil {
		return nil, err
	}
	v, err := s.o.Versions.Get(ctx, actor(ctx), r.App, r.Function, r.Version)
	if err != nil {
		return nil, err
	}
	return GetVersion200JSONResponse(v), nil
}

// GetVersionCode answers GET /apps/{app}/functions/{function}/versions/{version}/code.
func (s *server) GetVersionCode(ctx context.Context, r GetVersionCodeRequestObject) (GetVersionCodeResponseObject, error) {
	if err := checkVersion(r.Version); err != nil {
		return nil, err
	}
	source, err := s.o.Versions.Source(ctx, actor(ctx), r.App, r.Function, r.Version)
	if err != nil {
		return nil, err
	}
	return GetVersionCode200TextResponse(source), nil
}

// checkVersion spares the store numbers that no version can have.
func checkVersion(n int) error {
	if n >= 1 && n <= math.MaxInt32 {
		return nil
	}
	return &picloud.Error{Code: picloud.CodeNotFound, Detail: fmt.Sprintf("there is no version %d", n)}
}
