package api

import (
	"context"
	"errors"
	"strings"

	"github.com/picloud/picloud"
)

// EnvStore keeps the variables of apps.
type EnvStore interface {
	Get(ctx context.Context, actor picloud.Actor, app string) (env picloud.Env, rev int64, err error)
	// Replace fails with ErrPrecondition when the app's revision is not ifRev, 0
	// standing for any.
	Replace(ctx context.Context, actor picloud.Actor, app string, env picloud.Env, ifRev int64) (rev int64, err error)
}

// getEnv answers GET /apps/{app}/env.
func (a data) getEnv(ctx context.Context, p inApp, _ none) (out answer[picloud.Env], err error) {
	env, rev, err := a.Env.Get(ctx, actor(ctx), p.App)
	if err != nil {
		return out, err
	}
	return ok(dictionary(env)).with("ETag", etag(rev)), nil
}

// replaceEnv answers PUT /apps/{app}/env.
func (a data) replaceEnv(ctx context.Context, p replaceEnvParams, body object[picloud.Env]) (out answer[picloud.Env], rev int64, err error) {
	env := body.value
	if err := checkEnv(env); err != nil {
		return out, rev, err
	}
	var ifRev int64
	if p.IfMatch != nil {
		_, rev, err := a.Env.Get(ctx, actor(ctx), p.App)
		if err == nil {
			err = precondition("change variables of", p.App, p.IfMatch, rev)
		}
		if err != nil {
			return out, rev, err
		}
		ifRev = rev
	}
	rev, err = a.Env.Replace(ctx, actor(ctx), p.App, env, ifRev)
	return ok(dictionary(env)).with("ETag", etag(rev)), rev, err
}

// checkEnv checks variables that are the whole body.
func checkEnv(env picloud.Env) error {
	err := within("", env.Check())
	var e *picloud.Error
	if !errors.As(err, &e) {
		return err
	}
	for i, f := range e.Fields {
		e.Fields[i].Field = orBody(strings.TrimPrefix(strings.TrimPrefix(f.Field, "env"), "."))
	}
	return invalidFields(e.Fields)
}

// dictionary makes no variables {} instead of null.
func dictionary(env picloud.Env) picloud.Env {
	if env == nil {
		return picloud.Env{}
	}
	return env
}
