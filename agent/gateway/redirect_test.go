package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/invoke"
	"github.com/picloud/picloud/internal/budget"
	"github.com/picloud/picloud/internal/urlpath"
)

// leaves reports whether a browser that is sent to a location leaves the host: it drops
// tabs and line breaks, and takes a backslash for a slash (URL Standard, 4.4).
func leaves(location string) bool {
	location = strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.TrimLeft(location, " \x00"))
	return !strings.HasPrefix(location, "/") || strings.HasPrefix(location, "//")
}

// TestNoRedirectLeavesTheHost: whatever path a client sends, and whatever a rule of the
// proxy makes of it, the node redirects to its own host, and so does a function that
// redirects to its base and its path.
func TestNoRedirectLeavesTheHost(t *testing.T) {
	g := New(Options{Node: "n", Bodies: budget.New(1 << 20)})
	key := picloud.RouteKey{App: "a", Function: "f"}
	g.Swap(Table{key: g.NewEndpoint(&invoke.Function{Route: picloud.Route{
		App: "a", Function: "f", Settings: picloud.Settings{Routes: []string{"/", "/{a}/", "/{a}/{b}/", "POST /{rest...}"}},
	}})})
	rules := map[string]func(sent *url.URL) *url.URL{ // nil: the rule is not about the path
		"none": func(sent *url.URL) *url.URL { return sent },
		"rewrite to {uri}": func(sent *url.URL) *url.URL {
			return &url.URL{Path: "/fn/a/f" + sent.Path, RawPath: "/fn/a/f" + sent.EscapedPath()}
		},
		"rewrite to {path}": func(sent *url.URL) *url.URL { return &url.URL{Path: "/fn/a/f" + sent.Path} },
		"handle_path": func(sent *url.URL) *url.URL {
			rest, ok := strings.CutPrefix(sent.Path, "/api")
			if !ok || !strings.HasPrefix(rest, "/") {
				return nil
			}
			return &url.URL{Path: "/fn/a/f" + rest}
		},
		"slashes merged": func(sent *url.URL) *url.URL {
			return &url.URL{Path: "/fn/a/f/" + strings.TrimLeft(sent.Path, "/")}
		},
		"one page":       func(*url.URL) *url.URL { return &url.URL{Path: "/fn/a/f"} },
		"another folder": func(sent *url.URL) *url.URL { return &url.URL{Path: "/fn/a/f/x" + sent.Path} },
	}
	pieces := []string{"/", "//", `\`, "%2F", "%2f", "%5C", "%09", "%0a", "%20", "%00", "evil.example", "evil.example:80", "@", "api", "/api", ".", "..", "%2e", ";", "?", "/fn/a/f", "x"}
	prefixes := []string{"", "", "/shop", "/", "//", "//evil.example", "/shop//", `/\evil.example`, "/%5Cevil.example", "/\tevil"}
	rapid.Check(t, func(t *rapid.T) {
		text := "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 5).Draw(t, "sent"), "")
		sent, err := url.ParseRequestURI(text)
		if err != nil {
			return // net/http answers
		}
		rule := rapid.SampledFrom([]string{"none", "rewrite to {uri}", "rewrite to {path}", "handle_path", "slashes merged", "one page", "another folder"}).Draw(t, "rule")
		u := rules[rule](sent)
		if u == nil {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.URL = u
		r.Header.Set("Accept", "text/html")
		caller := Caller{Sent: sent, Prefix: rapid.SampledFrom(prefixes).Draw(t, "prefix")}
		escaped := u.EscapedPath()
		key, rest, ok := split(escaped)
		if !ok || urlpath.Check(escaped) != nil {
			return // refused
		}
		at := caller.locate(r, escaped, rest)
		for _, location := range []string{at.base + at.path, at.base + at.raw, at.base + "/", at.base + "/done"} {
			require.False(t, leaves(location), "%s by %s: base %q, location %q", text, rule, at.base, location)
		}
		require.NotRegexp(t, `[^!-~]`, at.raw, "it becomes a word of a line in the log")
		if ep := g.Endpoint(key); ep == nil || !at.bare && (!at.ours || len(ep.taken(at.raw)) > 0 || len(ep.taken(at.raw+"/")) == 0) {
			return // no redirect
		}
		w := httptest.NewRecorder()
		require.True(t, g.Serve(w, r, &caller))
		require.Equal(t, http.StatusPermanentRedirect, w.Code)
		require.False(t, leaves(w.Header().Get("Location")), "%s by %s is sent to %q", text, rule, w.Header().Get("Location"))
	})
}
