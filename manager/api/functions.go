package api

import (
	"context"
	"fmt"
	"math"
	"net/http"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// FunctionFinder finds a function of an app.
type FunctionFinder interface {
	Get(ctx context.Context, actor picloud.Actor, app, name string) (picloud.Function, error)
}

// FunctionStore keeps functions and their settings. A revision that is not the
// one of match is ErrPrecondition.
type FunctionStore interface {
	FunctionFinder
	List(ctx context.Context, actor picloud.Actor, app string, page picloud.Page) (items []picloud.Function, next string, err error)
	Create(ctx context.Context, actor picloud.Actor, app, name string, settings picloud.Settings) (picloud.Function, error)
	UpdateSettings(ctx context.Context, actor picloud.Actor, app, name string, settings picloud.Settings, match picloud.Match) (picloud.Function, error)
	// Delete returns the catalog's revision without the function.
	Delete(ctx context.Context, actor picloud.Actor, app, name string, match picloud.Match) (rev int64, err error)
}

// listFunctions answers GET /apps/{app}/functions.
func (a apps) listFunctions(ctx context.Context, p listFunctionsParams, _ none) (out answer[client.FunctionList], err error) {
	at, err := page(p.Limit, p.Cursor)
	if err != nil {
		return out, err
	}
	items, next, err := a.Functions.List(ctx, actor(ctx), p.App, at)
	if err != nil {
		return out, err
	}
	return ok(client.FunctionList{Items: list(items), Next: next}), nil
}

// createFunction answers POST /apps/{app}/functions.
func (a apps) createFunction(ctx context.Context, p inApp, body object[client.NewFunction]) (out answer[picloud.Function], err error) {
	if err := picloud.CheckName("name", body.value.Name); err != nil {
		return out, err
	}
	if err := within("settings", body.value.Settings.Check()); err != nil {
		return out, err
	}
	f, err := a.Functions.Create(ctx, actor(ctx), p.App, body.value.Name, body.value.Settings)
	if err != nil {
		return out, err
	}
	location := appPath(f.App) + "/functions/" + f.Name
	return created(location, f).with("ETag", etag(f.Rev)), nil
}

// getFunction answers GET /apps/{app}/functions/{function}.
func (a apps) getFunction(ctx context.Context, p inFunction, _ none) (out answer[picloud.Function], err error) {
	f, err := a.Functions.Get(ctx, actor(ctx), p.App, p.Function)
	if err != nil {
		return out, err
	}
	return ok(f).with("ETag", etag(f.Rev)), nil
}

// updateFunction answers PATCH /apps/{app}/functions/{function}. The merge
// happens here, on the revision that was read, and the store writes it only on
// top of that revision.
func (a apps) updateFunction(ctx context.Context, p updateFunctionParams, body patch[functionPatch]) (out answer[picloud.Function], rev int64, err error) {
	f, err := onTop(p.IfMatch, func() (picloud.Function, error) {
		f, err := a.functionAt(ctx, "change function", p.App, p.Function, p.IfMatch)
		if err != nil {
			return f, err
		}
		settings, err := apply(f.Settings, body["settings"])
		if err == nil {
			err = within("settings", settings.Check())
		}
		if err != nil {
			return f, err
		}
		return a.Functions.UpdateSettings(ctx, actor(ctx), p.App, p.Function, settings, picloud.MatchVersion(f.Rev))
	})
	if err != nil {
		return out, rev, err
	}
	return ok(f).with("ETag", etag(f.Rev)), f.Rev, nil
}

// deleteFunction answers DELETE /apps/{app}/functions/{function}.
func (a apps) deleteFunction(ctx context.Context, p deleteFunctionParams, _ none) (out answer[nothing], rev int64, err error) {
	match := picloud.MatchAny
	if p.IfMatch != nil {
		f, err := a.functionAt(ctx, "delete function", p.App, p.Function, p.IfMatch)
		if err != nil {
			return out, rev, err
		}
		match = picloud.MatchVersion(f.Rev)
	}
	rev, err = a.Functions.Delete(ctx, actor(ctx), p.App, p.Function, match)
	return done(), rev, err
}

// functionAt reads a function and checks that it is the one of If-Match.
func (a apps) functionAt(ctx context.Context, op, app, function string, ifMatch *string) (picloud.Function, error) {
	f, err := a.Functions.Get(ctx, actor(ctx), app, function)
	if err == nil {
		err = precondition(op, app+"/"+function, ifMatch, f.Rev)
	}
	return f, err
}

// VersionStore reads versions and their code.
type VersionStore interface {
	List(ctx context.Context, actor picloud.Actor, app, function string, page picloud.Page) (items []picloud.Version, next string, err error)
	Get(ctx context.Context, actor picloud.Actor, app, function string, number int) (picloud.Version, error)
	Source(ctx context.Context, actor picloud.Actor, app, function string, number int) ([]byte, error)
}

// listVersions answers GET /apps/{app}/functions/{function}/versions.
func (a apps) listVersions(ctx context.Context, p listVersionsParams, _ none) (out answer[client.VersionList], err error) {
	at, err := page(p.Limit, p.Cursor)
	if err != nil {
		return out, err
	}
	items, next, err := a.Versions.List(ctx, actor(ctx), p.App, p.Function, at)
	if err != nil {
		return out, err
	}
	return ok(client.VersionList{Items: list(items), Next: next}), nil
}

// getVersion answers GET /apps/{app}/functions/{function}/versions/{version}.
func (a apps) getVersion(ctx context.Context, p inVersion, _ none) (out answer[picloud.Version], err error) {
	if err := checkVersion(p.Version); err != nil {
		return out, err
	}
	v, err := a.Versions.Get(ctx, actor(ctx), p.App, p.Function, p.Version)
	if err != nil {
		return out, err
	}
	return ok(v), nil
}

// getVersionCode answers GET /apps/{app}/functions/{function}/versions/{version}/code.
func (a apps) getVersionCode(ctx context.Context, p inVersion, _ none) (out answer[source], err error) {
	if err := checkVersion(p.Version); err != nil {
		return out, err
	}
	code, err := a.Versions.Source(ctx, actor(ctx), p.App, p.Function, p.Version)
	if err != nil {
		return out, err
	}
	return ok(source(code)), nil
}

// source is a script as plain text.
type source []byte

func (s source) send(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(s)
	return err
}

// checkVersion spares the store numbers that no version can have.
func checkVersion(n int) error {
	if n >= 1 && n <= math.MaxInt32 {
		return nil
	}
	return &picloud.Error{Code: picloud.CodeNotFound, Detail: fmt.Sprintf("there is no version v%d", n)}
}
