package api

import (
	"context"

	"github.com/picloud/picloud"
)

// AppStore keeps apps and their settings. Those that the actor is no member of
// are ErrNotFound.
type AppStore interface {
	AppReader
	AppWriter
}

// AppReader reads apps.
type AppReader interface {
	Get(ctx context.Context, actor picloud.Actor, name string) (picloud.App, picloud.Role, error)
	List(ctx context.Context, actor picloud.Actor, page picloud.Page) (items []picloud.App, next string, err error)
}

// AppWriter changes apps.
type AppWriter interface {
	Create(ctx context.Context, actor picloud.Actor, name string) (picloud.App, error)
	// UpdateSettings fails with ErrPrecondition when the app's revision is not the one of match.
	UpdateSettings(ctx context.Context, actor picloud.Actor, app string, settings picloud.AppSettings, match picloud.Match) (picloud.App, error)
	// Delete returns the catalog's revision without the app.
	Delete(ctx context.Context, actor picloud.Actor, name string) (rev int64, err error)
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
	return CreateApp201JSONResponse{Body: app, Headers: CreateApp201ResponseHeaders{ETag: etag(app.Rev), Location: appPath(app.Name)}}, nil
}

// GetApp answers GET /apps/{app}.
func (s *server) GetApp(ctx context.Context, r GetAppRequestObject) (GetAppResponseObject, error) {
	app, role, err := s.o.Apps.Get(ctx, actor(ctx), r.App)
	if err != nil {
		return nil, err
	}
	return GetApp200JSONResponse{Body: appDetail(app, role), Headers: GetApp200ResponseHeaders{ETag: etag(app.Rev)}}, nil
}

// UpdateApp answers PATCH /apps/{app}.
func (s *server) UpdateApp(ctx context.Context, r UpdateAppRequestObject) (UpdateAppResponseObject, error) {
	patch, err := readPatch[appPatch](*r.Body)
	if err != nil {
		return nil, err
	}
	app, err := onTop(r.Params.IfMatch, func() (AppDetail, error) {
		app, role, err := s.o.Apps.Get(ctx, actor(ctx), r.App)
		if err == nil {
			err = precondition("change app", r.App, r.Params.IfMatch, app.Rev)
		}
		if err != nil {
			return AppDetail{}, err
		}
		settings, err := apply(app.Settings, patch["settings"])
		if err == nil {
			err = within("settings", settings.Check())
		}
		if err != nil {
			return AppDetail{}, err
		}
		app, err = s.o.Apps.UpdateSettings(ctx, actor(ctx), r.App, settings, picloud.MatchVersion(app.Rev))
		return appDetail(app, role), err
	})
	if err != nil {
		return nil, err
	}
	s.o.Manager.Settle(ctx)
	return UpdateApp200JSONResponse{Body: app, Headers: UpdateApp200ResponseHeaders{ETag: etag(app.Rev)}}, nil
}

func appDetail(app picloud.App, role picloud.Role) AppDetail {
	return AppDetail{Name: app.Name, Settings: app.Settings, Rev: app.Rev, CreatedAt: app.CreatedAt, Role: role}
}

// DeleteApp answers DELETE /apps/{app}.
func (s *server) DeleteApp(ctx context.Context, r DeleteAppRequestObject) (DeleteAppResponseObject, error) {
	if _, err := s.o.Apps.Delete(ctx, actor(ctx), r.App); err != nil {
		return nil, err
	}
	s.o.Manager.Settle(ctx)
	return DeleteApp204Response{}, nil
}
