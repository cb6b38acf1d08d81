package client

import (
	"context"
	"net/http"
	"strings"
)

// AtKey makes a request go to a key that is "." or "..", which a URL would take
// for a folder. Requests for other keys it leaves as they are.
//
//	c.GetKV(ctx, app, key, client.AtKey(app, key))
func AtKey(app, key string) RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		if key == "." || key == ".." {
			path := "/api/v1/apps/" + app + "/kv/"
			r.URL.Path, r.URL.RawPath = path+key, path+strings.Repeat("%2E", len(key))
		}
		return nil
	}
}
