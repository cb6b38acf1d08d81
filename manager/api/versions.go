package api

import (
	"context"
	"fmt"
	"math"
	"net/http"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

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
