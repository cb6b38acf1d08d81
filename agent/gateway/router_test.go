package gateway

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
)

func TestRoutes(t *testing.T) {
	r := newRouter([]string{
		"GET /", "GET /items/{id}", "GET /items/new", "POST /items", "/files/{path...}", "GET /caf%C3%A9", "DELETE /items/{id}", "HEAD /h", "GET /h",
		"PUT /items/{id}/tags/{tag}", "GET /dir/",
	})
	for request, want := range map[string]string{
		"GET /":                   "GET /",
		"HEAD /":                  "GET /",
		"POST /":                  "",
		"GET /items/7":            "GET /items/{id} id=7",
		"HEAD /items/7":           "GET /items/{id} id=7",
		"DELETE /items/7":         "DELETE /items/{id} id=7",
		"DELETE /items/new":       "DELETE /items/{id} id=new",
		"GET /items/new":          "GET /items/new",
		"GET /items/%6eew":        "GET /items/new",
		"GET /items/a%2Fb":        "GET /items/{id} id=a/b",
		"GET /items/a%252Fb":      "GET /items/{id} id=a%2Fb",
		"GET /items/a/b":          "",
		"GET /items/":             "",
		"GET /items//":            "",
		"GET /items":              "",
		"POST /items":             "POST /items",
		"POST /items/":            "",
		"GET /files/":             "/files/{path...} path=",
		"BREW /files/a/b%2Fc//d/": "/files/{path...} path=a/b/c//d/",
		"GET /files":              "",
		"GET //items/7":           "",
		"GET /caf%C3%A9":          "GET /caf%C3%A9",
		"GET /café":               "GET /caf%C3%A9",
		"HEAD /h":                 "HEAD /h",
		"GET /h":                  "GET /h",
		"PUT /items/7/tags/x%20y": "PUT /items/{id}/tags/{tag} id=7 tag=x y",
		"GET /dir/":               "GET /dir/",
		"GET /dir":                "",
		"GET /ITEMS/7":            "",
	} {
		method, path, _ := strings.Cut(request, " ")
		pattern, params, fits := r.route(method, path)
		for name, value := range params.Strings() {
			pattern += " " + name + "=" + value
		}
		require.Equal(t, want, pattern, request)
		require.Equal(t, want != "", fits, request)
	}
	methods, all := r.methods("/items/new")
	require.Equal(t, []string{"GET", "HEAD", "DELETE"}, methods)
	require.False(t, all)
	_, all = r.methods("/files/x")
	require.True(t, all)
	methods, all = r.methods("/nope")
	require.Empty(t, methods)
	require.False(t, all)
	require.Nil(t, newRouter(nil))
}

// TestRoutesAgreeWithTheirDescription compares the tree with a reading of the
// documentation: of all patterns that match, the one that matches least.
func TestRoutesAgreeWithTheirDescription(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var routes []string
		for _, text := range rapid.SliceOfN(rapid.Custom(drawRoute), 1, 8).Draw(t, "routes") {
			if (picloud.Settings{Routes: append(routes, text)}).Check() == nil {
				routes = append(routes, text)
			}
		}
		router := newRouter(routes)
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "", "%61", "a%2Fb"}), 1, 4).Draw(t, "path")
		path := "/" + strings.Join(parts, "/")
		method := rapid.SampledFrom([]string{"GET", "HEAD", "POST", "BREW"}).Draw(t, "method")

		var best *picloud.Pattern
		var allowed []string
		all := false
		for _, p := range picloud.ParsePatterns(routes) {
			if !naive(p, path) {
				continue
			}
			allowed = append(allowed, p.Method)
			all = all || p.Method == ""
			if p.Takes(method) && (best == nil || narrower(p, *best)) {
				best = &p
			}
		}
		pattern, params, fits := router.route(method, path)
		require.Equal(t, best != nil, fits, "%v %s %s", routes, method, path)
		if fits {
			require.Equal(t, best.Text, pattern, "%v %s %s", routes, method, path)
			require.Equal(t, strings.Count(pattern, "{"), countPairs(params))
		}
		methods, every := router.methods(path)
		require.Equal(t, all, every)
		for _, m := range []string{"GET", "HEAD", "POST"} {
			want := false
			for _, a := range allowed {
				want = want || a == m || a == "GET" && m == "HEAD"
			}
			require.Equal(t, want, slices.Contains(methods, m), "%v %s %s", routes, m, path)
		}
	})
}

func drawRoute(t *rapid.T) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "{%}"}), 0, 2).Draw(t, "parts")
	parts = append(parts, rapid.SampledFrom([]string{"a", "b", "", "{%}", "{%...}"}).Draw(t, "last"))
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], "%", string(rune('k'+i)))
	}
	return rapid.SampledFrom([]string{"", "GET ", "HEAD ", "POST "}).Draw(t, "method") + "/" + strings.Join(parts, "/")
}

// naive matches a path as the documentation says it.
func naive(p picloud.Pattern, path string) bool {
	parts := strings.Split(path[1:], "/")
	for i, s := range p.Segments {
		if i >= len(parts) {
			return false
		}
		part, err := url.PathUnescape(parts[i])
		switch {
		case err != nil:
			return false
		case s.Rest != "":
			return true
		case s.Param != "" && part == "", s.Param == "" && part != s.Literal:
			return false
		}
	}
	return len(parts) == len(p.Segments)
}

// narrower compares two patterns that match the same request and do not conflict:
// the first difference of their segments says which matches less, else the method.
func narrower(p, q picloud.Pattern) bool {
	kind := func(s picloud.Segment) int {
		switch {
		case s.Rest != "":
			return 2
		case s.Param != "":
			return 1
		}
		return 0
	}
	for i := range min(len(p.Segments), len(q.Segments)) {
		if a, b := kind(p.Segments[i]), kind(q.Segments[i]); a != b {
			return a < b
		}
	}
	return p.Method != "" && (q.Method == "" || p.Method == "HEAD")
}

func countPairs(p executor.Pairs) (n int) {
	for range p.All() {
		n++
	}
	return n
}

// A draft is told of the route that its request fits, as a call is.
func TestDraftsHaveRoutes(t *testing.T) {
	f := &picloud.Function{App: "shop", Name: "orders", Settings: picloud.Settings{Routes: []string{"GET /items/{id}"}}}
	fit, err := FitOf(f, picloud.Request{Method: "GET", Path: "/items/a/b", RawPath: "/items/a%2Fb"})
	require.NoError(t, err)
	require.Equal(t, "GET /items/{id}", fit.Route)
	require.Equal(t, executor.Pairs{}.AppendPair("id", "a/b"), fit.Params)
	_, err = FitOf(f, picloud.Request{Method: "POST", Path: "/items/1"})
	require.Equal(t, picloud.CodeNoRoute, picloud.CodeOf(err))
	fit, err = FitOf(&picloud.Function{}, picloud.Request{Method: "GET", Path: "/x"})
	require.NoError(t, err)
	require.Zero(t, fit)
}
