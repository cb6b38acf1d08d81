package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/picloud/picloud"
)

// SecretStore knows the secrets of apps by name; manager.Manager sets them,
// since that seals them.
type SecretStore interface {
	// List returns the secrets by name, without their values.
	List(ctx context.Context, actor picloud.Actor, app string) ([]picloud.Secret, error)
	// Delete returns the catalog's revision without the secret.
	Delete(ctx context.Context, actor picloud.Actor, app, name string) (rev int64, err error)
}

// ListSecrets answers GET /apps/{app}/secrets.
func (s *server) ListSecrets(ctx context.Context, r ListSecretsRequestObject) (ListSecretsResponseObject, error) {
	items, err := s.o.Secrets.List(ctx, actor(ctx), r.App)
	if err != nil {
		return nil, err
	}
	return ListSecrets200JSONResponse{Items: list(items)}, nil
}

// PutSecret answers PUT /apps/{app}/secrets/{secret}.
func (s *server) PutSecret(ctx context.Context, r PutSecretRequestObject) (PutSecretResponseObject, error) {
	if err := picloud.CheckVariable("secret", r.Secret); err != nil {
		return nil, err
	}
	value, err := readSecret(callOf(ctx).contentType, r.Body)
	defer clear(value)
	if err != nil {
		return nil, err
	}
	if _, err := s.o.Manager.SetSecret(ctx, actor(ctx), r.App, r.Secret, value); err != nil {
		return nil, err
	}
	s.o.Manager.Settle(ctx)
	return PutSecret204Response{}, nil
}

// DeleteSecret answers DELETE /apps/{app}/secrets/{secret}.
func (s *server) DeleteSecret(ctx context.Context, r DeleteSecretRequestObject) (DeleteSecretResponseObject, error) {
	if !picloud.ValidVariable(r.Secret) {
		return nil, &picloud.Error{Code: picloud.CodeNotFound, Detail: fmt.Sprintf("there is no secret %q", picloud.Shorten(r.Secret, 80))}
	}
	if _, err := s.o.Secrets.Delete(ctx, actor(ctx), r.App, r.Secret); err != nil {
		return nil, err
	}
	s.o.Manager.Settle(ctx)
	return DeleteSecret204Response{}, nil
}

// readSecret reads the value of a secret. Its errors tell nothing of the body:
// not the byte that is no JSON, nor a field that is not known, which may be the
// secret itself in the wrong place. The caller clears the value.
func readSecret(contentType string, body io.Reader) ([]byte, error) {
	kind, err := mediaOf(contentType)
	if err != nil {
		return nil, err
	}
	text, err := readBody(body)
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
