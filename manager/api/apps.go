package api

import (
	"context"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager"
	"github.com/picloud/picloud/manager/api/client"
)

// AppStores are the stores of the area apps. Making a version and making it
// live needs the compiler and the fleet, so manager.Manager does both.
type AppStores struct {
	Apps        AppStore
	Functions   FunctionStore
	Versions    VersionStore
	Deployments DeploymentStore
}

// AppFinder finds an app and the actor's role in it. An app that the actor is
// not a member of is ErrNotFound.
type AppFinder interface {
	Get(ctx context.Context, actor picloud.Actor, name string) (picloud.App, picloud.Role, error)
}

// AppCounter counts what an app holds.
type AppCounter interface {
	Contents(ctx context.Context, actor picloud.Actor, name string) (picloud.AppContents, error)
}

// AppStore keeps apps and their settings.
type AppStore interface {
	AppFinder
	AppCounter
	List(ctx context.Context, actor picloud.Actor, page picloud.Page) (items []picloud.App, next string, err error)
	Create(ctx context.Context, actor picloud.Actor, name string) (picloud.App, error)
	// UpdateSettings fails with ErrPrecondition when the app's revision is not the one of match.
	UpdateSettings(ctx context.Context, actor picloud.Actor, app string, settings picloud.AppSettings, match picloud.Match) (picloud.App, error)
	// Delete returns the catalog's revision without the app.
	Delete(ctx context.Context, actor picloud.Actor, name string) (rev int64, err error)
}

// apps is the area of apps, functions, versions and deployments.
type apps struct {
	AppStores
	manager *manager.Manager
}

type (
	updateAppParams struct {
		inApp
		client.UpdateAppParams
	}
	listFunctionsParams struct {
		inApp
		client.ListFunctionsParams
	}
	updateFunctionParams struct {
		inFunction
		client.UpdateFunctionParams
	}
	deleteFunctionParams struct {
		inFunction
		client.DeleteFunctionParams
	}
	putCodeParams struct {
		inFunction
		client.PutCodeParams
	}
	inVersion struct {
		inFunction
		Version int `path:"version"`
	}
	listVersionsParams struct {
		inFunction
		client.ListVersionsParams
	}
	inDeployment struct {
		inFunction
		Deployment int64 `path:"deployment"`
	}
	listDeploymentsParams struct {
		inFunction
		client.ListDeploymentsParams
	}
	createDeploymentParams struct {
		inFunction
		client.CreateDeploymentParams
	}
	rollbackParams struct {
		inFunction
		client.RollbackParams
	}
)

func (a apps) operations() []operation {
	const app, fn = "/api/v1/apps/{app}", "/api/v1/apps/{app}/functions/{function}"
	return []operation{
		on("GET /api/v1/apps", successes{200: nil}, a.listApps),
		on("POST /api/v1/apps", successes{201: {"Location", "ETag"}}, a.createApp),
		on("GET "+app, successes{200: {"ETag"}}, a.getApp),
		on("GET "+app+"/contents", successes{200: nil}, a.getAppContents),
		change("PATCH "+app, successes{200: {"ETag"}}, a.updateApp),
		change("DELETE "+app, successes{204: nil}, a.deleteApp),

		on("GET "+app+"/functions", successes{200: nil}, a.listFunctions),
		on("POST "+app+"/functions", successes{201: {"Location", "ETag"}}, a.createFunction),
		on("GET "+fn, successes{200: {"ETag"}}, a.getFunction),
		change("PATCH "+fn, successes{200: {"ETag"}}, a.updateFunction).upTo(maxConfig),
		change("DELETE "+fn, successes{204: nil}, a.deleteFunction),

		on("PUT "+fn+"/code", successes{200: nil, 201: {"Location"}, 202: nil}, a.putCode).upTo(maxSource),
		on("POST "+fn+"/validate", successes{200: nil}, a.validateCode).upTo(maxSource),
		on("POST "+fn+"/test", successes{200: nil}, a.testDraft).upTo(maxDraft),
		on("GET "+fn+"/versions", successes{200: nil}, a.listVersions),
		on("GET "+fn+"/versions/{version}", successes{200: nil}, a.getVersion),
		on("GET "+fn+"/versions/{version}/code", successes{200: nil}, a.getVersionCode),

		on("GET "+fn+"/deployments", successes{200: nil}, a.listDeployments),
		on("POST "+fn+"/deployments", successes{201: {"Location"}, 202: nil}, a.createDeployment),
		on("GET "+fn+"/deployments/{deployment}", successes{200: nil}, a.getDeployment),
		on("POST "+fn+"/rollback", successes{201: {"Location"}, 202: nil}, a.rollback),
	}
}

func appPath(app string) string { return "/api/v1/apps/" + app }

// listApps answers GET /apps.
func (a apps) listApps(ctx context.Context, p client.ListAppsParams, _ none) (out answer[client.AppList], err error) {
	at, err := page(p.Limit, p.Cursor)
	if err != nil {
		return out, err
	}
	items, next, err := a.Apps.List(ctx, actor(ctx), at)
	if err != nil {
		return out, err
	}
	return ok(client.AppList{Items: list(items), Next: next}), nil
}

// createApp answers POST /apps.
func (a apps) createApp(ctx context.Context, _ none, body object[client.NewApp]) (out answer[picloud.App], err error) {
	if err := picloud.CheckName("name", body.value.Name); err != nil {
		return out, err
	}
	app, err := a.Apps.Create(ctx, actor(ctx), body.value.Name)
	if err != nil {
		return out, err
	}
	return created(appPath(app.Name), app).with("ETag", etag(app.Rev)), nil
}

// getApp answers GET /apps/{app}.
func (a apps) getApp(ctx context.Context, p inApp, _ none) (out answer[client.AppDetail], err error) {
	app, role, err := a.Apps.Get(ctx, actor(ctx), p.App)
	if err != nil {
		return out, err
	}
	return ok(appDetail(app, role)).with("ETag", etag(app.Rev)), nil
}

// getAppContents answers GET /apps/{app}/contents.
func (a apps) getAppContents(ctx context.Context, p inApp, _ none) (out answer[picloud.AppContents], err error) {
	contents, err := a.Apps.Contents(ctx, actor(ctx), p.App)
	if err != nil {
		return out, err
	}
	return ok(contents), nil
}

// updateApp answers PATCH /apps/{app}.
func (a apps) updateApp(ctx context.Context, p updateAppParams, body patch[appPatch]) (out answer[client.AppDetail], rev int64, err error) {
	app, err := onTop(p.IfMatch, func() (client.AppDetail, error) {
		app, role, err := a.Apps.Get(ctx, actor(ctx), p.App)
		if err == nil {
			err = precondition("change app", p.App, p.IfMatch, app.Rev)
		}
		if err != nil {
			return client.AppDetail{}, err
		}
		settings, err := apply(app.Settings, body["settings"])
		if err == nil {
			err = within("settings", settings.Check())
		}
		if err != nil {
			return client.AppDetail{}, err
		}
		app, err = a.Apps.UpdateSettings(ctx, actor(ctx), p.App, settings, picloud.MatchVersion(app.Rev))
		return appDetail(app, role), err
	})
	if err != nil {
		return out, rev, err
	}
	return ok(app).with("ETag", etag(app.Rev)), app.Rev, nil
}

func appDetail(app picloud.App, role picloud.Role) client.AppDetail {
	return client.AppDetail{Name: app.Name, Settings: app.Settings, Rev: app.Rev, CreatedAt: app.CreatedAt, Role: role}
}

// deleteApp answers DELETE /apps/{app}.
func (a apps) deleteApp(ctx context.Context, p inApp, _ none) (out answer[nothing], rev int64, err error) {
	rev, err = a.Apps.Delete(ctx, actor(ctx), p.App)
	return done(), rev, err
}
