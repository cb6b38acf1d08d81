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
			below := "/api/v1/apps/" + app + "/kv/"
			base := func(path string) string { // of a server whose address has a path
				return path[:max(strings.LastIndex(path, "/api/v1/apps/"), 0)]
			}
			r.URL.Path, r.URL.RawPath = base(r.URL.Path)+below+key, base(r.URL.EscapedPath())+below+strings.Repeat("%2E", len(key))
		}
		return nil
	}
}
