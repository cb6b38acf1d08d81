package config

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/manager/api/client"
)

// changeAttempts bounds how often a command tries to read, edit and write something that
// others change at the same time.
const changeAttempts = 10

// changeFunction patches the settings of a function. It tries again when somebody else
// changed them after edit saw them.
func changeFunction(ctx context.Context, node *command.Node, app, name string, edit func(client.Function) (settings any, err error)) (client.Function, error) {
	return onTop(func() (client.Function, error) {
		f, etag, err := readTagged[client.Function](node.GetFunction(ctx, app, name))
		if err != nil {
			return f, err
		}
		settings, err := edit(f)
		if err != nil {
			return f, err
		}
		patch, err := json.Marshal(map[string]any{"settings": settings})
		if err != nil {
			return f, err
		}
		return client.Read[client.Function](node.UpdateFunction(ctx, app, name, &client.UpdateFunctionParams{IfMatch: &etag}, patch))
	})
}

// onTop repeats a change that failed because somebody else changed the same thing first:
// optimistic concurrency, with the ETag as the version.
func onTop[T any](change func() (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		out, err := change()
		if !errors.Is(err, picloud.ErrPrecondition) || attempt == changeAttempts {
			return out, err
		}
	}
}

// readTagged reads an answer with its ETag.
func readTagged[T any](resp *http.Response, err error) (out T, etag string, _ error) {
	out, err = client.Read[T](resp, err)
	if err == nil {
		etag = resp.Header.Get("ETag")
	}
	return out, etag, err
}
