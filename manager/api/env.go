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
	// Replace fails with ErrPrecondition when the app's revision is not the
	// one of match.
	Replace(ctx context.Context, actor picloud.Actor, app string, env picloud.Env, match picloud.Match) (rev int64, err error)
}

// GetEnv answers GET /apps/{app}/env.
func (s *server) GetEnv(ctx context.Context, r GetEnvRequestObject) (GetEnvResponseObject, error) {
	env, rev, err := s.o.Env.Get(ctx, actor(ctx), r.App)
	if err != nil {
		return nil, err
	}
	return GetEnv200JSONResponse{Body: dictionary(env), Headers: GetEnv200ResponseHeaders{ETag: etag(rev)}}, nil
}

// ReplaceEnv answers PUT /apps/{app}/env.
func (s *server) ReplaceEnv(ctx context.Context, r ReplaceEnvRequestObject) (ReplaceEnvResponseObject, error) {
	env := *r.Body
	if err := checkEnv(env); err != nil {
		return nil, err
	}
	match := picloud.MatchAny
	if r.Params.IfMatch != nil {
		_, rev, err := s.o.Env.Get(ctx, actor(ctx), r.App)
		if err == nil {
			err = precondition("change variables of", r.App, r.Params.IfMatch, rev)
		}
		if err != nil {
			return nil, err
		}
		match = picloud.MatchVersion(rev)
	}
	rev, err := s.o.Env.Replace(ctx, actor(ctx), r.App, env, match)
	if err != nil {
		return nil, err
	}
	s.o.Manager.Settle(ctx)
	return ReplaceEnv200JSONResponse{Body: dictionary(env), Headers: ReplaceEnv200ResponseHeaders{ETag: etag(rev)}}, nil
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
