package api

import (
	"context"

	"github.com/picloud/picloud"
)

// AppStore keeps apps. Those that the actor is no member of are ErrNotFound.
type AppStore interface {
	Create(ctx context.Context, actor picloud.Actor, name string) (picloud.App, error)
	Get(ctx context.Context, actor picloud.Actor, name string) (picloud.App, picloud.Role, error)
	List(ctx context.Context, actor picloud.Actor, page picloud.Page) (items []picloud.App, next string, err error)
	Delete(ctx context.Context, actor picloud.Actor, name string) error
}

func appPath(app string) string { return "/api/v1/apps/" + app }

// ListApps answers GET /apps.
func (s *server) ListApps(ctx context.Context, r ListAppsRequestObject) (ListAppsResponseObject, error) {
	p, err := page(r.Params.Limit, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	items, next, err := s.o.Apps.List(ctx, actor(ctx), p)
	if err != nil {
		return nil, err
	}
	return ListApps200JSONResponse{Items: list(items), Next: next}, nil
}

// CreateApp answers POST /apps.
func (s *server) CreateApp(ctx context.Context, r CreateAppRequestObject) (CreateAppResponseObject, error) {
	if err := picloud.CheckName("name", r.Body.Name); err != nil {
		return nil, err
	}
	app, err := s.o.Apps.Create(ctx, actor(ctx), r.Body.Name)
	if err != nil {
		return nil, err
	}
	return CreateApp201JSONResponse{Body: app, Headers: CreateApp201ResponseHeaders{Location: appPath(app.Name)}}, nil
}

// GetApp answers GET /apps/{app}.
func (s *server) GetApp(ctx context.Context, r GetAppRequestObject) (GetAppResponseObject, error) {
	app, role, err := s.o.Apps.Get(ctx, actor(ctx), r.App)
	if err != nil {
		return nil, err
	}
	return GetApp200JSONResponse{Name: app.Name, CreatedAt: app.CreatedAt, Role: role}, nil
}

// DeleteApp answers DELETE /apps/{app}.
func (s *server) DeleteApp(ctx context.Context, r DeleteAppRequestObject) (DeleteAppResponseObject, error) {
	if err := s.o.Apps.Delete(ctx, actor(ctx), r.App); err != nil {
		return nil, err
	}
	return DeleteApp204Response{}, nil
}
