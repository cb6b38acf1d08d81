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

// changeAttempts bounds how often a change that reads, edits and writes is made
// again because somebody else's came between.
const changeAttempts = 10

// changeFunction patches a function's settings on top of the ones that edit saw.
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

// onTop makes a change again when somebody else's came between: optimistic
// concurrency, with the ETag as the version.
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
