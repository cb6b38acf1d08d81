package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager"
	"github.com/picloud/picloud/manager/api/client"
)

// SecretStore knows the secrets of apps by name; manager.Manager sets them,
// since that seals them.
type SecretStore interface {
	// List returns the secrets by name, without their values.
	List(ctx context.Context, actor picloud.Actor, app string) ([]picloud.Secret, error)
	// Delete returns the catalog's revision without the secret.
	Delete(ctx context.Context, actor picloud.Actor, app, name string) (rev int64, err error)
}

// DataStores are the stores of the area data. A secret is sealed before it is
// kept, so manager.Manager sets it.
type DataStores struct {
	Env     EnvStore
	Secrets SecretStore
	KV      KVStore
}

// data is the area of what functions are given: variables, secrets, keys.
type data struct {
	DataStores
	apps    AppFinder
	manager *manager.Manager
}

type (
	replaceEnvParams struct {
		inApp
		client.ReplaceEnvParams
	}
	ofSecret struct {
		inApp
		Secret string `path:"secret"`
	}
	ofKey struct {
		inApp
		Key string `path:"key"`
	}
	listKVParams struct {
		inApp
		client.ListKVParams
	}
	putKVParams struct {
		ofKey
		client.PutKVParams
	}
	deleteKVParams struct {
		ofKey
		client.DeleteKVParams
	}
)

func (a data) operations() []operation {
	const app = "/api/v1/apps/{app}"
	return []operation{
		on("GET "+app+"/env", successes{200: {"ETag"}}, a.getEnv),
		change("PUT "+app+"/env", successes{200: {"ETag"}}, a.replaceEnv).upTo(maxConfig),

		on("GET "+app+"/secrets", successes{200: nil}, a.listSecrets),
		change("PUT "+app+"/secrets/{secret}", successes{204: nil}, a.putSecret).upTo(maxConfig),
		change("DELETE "+app+"/secrets/{secret}", successes{204: nil}, a.deleteSecret),

		on("GET "+app+"/kv", successes{200: nil}, a.listKV).answering(maxListAnswer),
		on("GET "+app+"/kv/{key}", successes{200: {"ETag"}}, a.getKV).answering(maxValueAnswer),
		on("PUT "+app+"/kv/{key}", successes{200: {"ETag"}}, a.putKV).upTo(maxValue),
		on("DELETE "+app+"/kv/{key}", successes{204: nil}, a.deleteKV),
	}
}

// listSecrets answers GET /apps/{app}/secrets.
func (a data) listSecrets(ctx context.Context, p inApp, _ none) (out answer[client.SecretList], err error) {
	items, err := a.Secrets.List(ctx, actor(ctx), p.App)
	if err != nil {
		return out, err
	}
	return ok(client.SecretList{Items: list(items)}), nil
}

// putSecret answers PUT /apps/{app}/secrets/{secret}.
func (a data) putSecret(ctx context.Context, p ofSecret, body raw) (out answer[nothing], rev int64, err error) {
	if err := picloud.CheckVariable("secret", p.Secret); err != nil {
		return out, rev, err
	}
	value, err := readSecret(body)
	defer clear(value)
	if err != nil {
		return out, rev, err
	}
	rev, err = a.manager.SetSecret(ctx, actor(ctx), p.App, p.Secret, value)
	return done(), rev, err
}

// deleteSecret answers DELETE /apps/{app}/secrets/{secret}.
func (a data) deleteSecret(ctx context.Context, p ofSecret, _ none) (out answer[nothing], rev int64, err error) {
	if !picloud.ValidVariable(p.Secret) {
		return out, 0, &picloud.Error{Code: picloud.CodeNotFound, Detail: fmt.Sprintf("there is no secret %q", picloud.Shorten(p.Secret, 80))}
	}
	rev, err = a.Secrets.Delete(ctx, actor(ctx), p.App, p.Secret)
	return done(), rev, err
}

// readSecret reads the value of a secret. Its errors quote nothing of the body:
// neither the byte that is not JSON nor the field that is not known, which may be the
// secret itself in the wrong place. The caller clears the value.
func readSecret(body raw) ([]byte, error) {
	kind, err := mediaOf(body.contentType)
	if err != nil {
		return nil, err
	}
	text, err := readBody(body.reader)
	if err != nil || kind != mediaJSON {
		return text, err
	}
	var object struct{ Value secretText }
	var named map[string]json.RawMessage // the names as they are written
	defer func() {
		clear(text)
		for _, raw := range named {
			clear(raw)
		}
	}()
	if json.Unmarshal(text, &named) != nil || named["value"] == nil || len(named) != 1 ||
		!utf8.Valid(text) || json.Unmarshal(text, &object) != nil {
		return nil, &picloud.Error{
			Code: picloud.CodeInvalid, Detail: "the body is not an object with the one field value, a string",
			Hint: `send {"value": "…"}, or the value itself as application/octet-stream`, Fields: []picloud.FieldError{{Field: "value", Message: "must be a string"}},
		}
	}
	return object.Value, nil
}

// secretText is a JSON string in a buffer that can be cleared.
type secretText []byte

// UnmarshalText takes a copy, as it must.
func (s *secretText) UnmarshalText(text []byte) error {
	*s = append(secretText(nil), text...)
	return nil
}

// EnvStore keeps the variables of apps.
type EnvStore interface {
	Get(ctx context.Context, actor picloud.Actor, app string) (env picloud.Env, rev int64, err error)
	// Replace fails with ErrPrecondition when the app's revision is not the one of
	// match.
	Replace(ctx context.Context, actor picloud.Actor, app string, env picloud.Env, match picloud.Match) (rev int64, err error)
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
	match := picloud.MatchAny
	if p.IfMatch != nil {
		_, rev, err := a.Env.Get(ctx, actor(ctx), p.App)
		if err == nil {
			err = precondition("change variables of", p.App, p.IfMatch, rev)
		}
		if err != nil {
			return out, rev, err
		}
		match = picloud.MatchVersion(rev)
	}
	rev, err = a.Env.Replace(ctx, actor(ctx), p.App, env, match)
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
