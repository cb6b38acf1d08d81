package gateway

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/picloud/picloud/internal/urlpath"
)

// BenchmarkPlace is what the path of a request costs before its function is called.
func BenchmarkPlace(b *testing.B) {
	for name, c := range map[string]struct{ sent, path string }{
		"plain":     {"/fn/default/hello", "/fn/default/hello"},
		"deep":      {"/fn/default/hello/items/42/tags/blue", "/fn/default/hello/items/42/tags/blue"},
		"encoded":   {"/fn/default/hello/a%2Fb", "/fn/default/hello/a%2Fb"},
		"rewritten": {"/api/items/42", "/fn/default/hello/items/42"},
	} {
		b.Run(name, func(b *testing.B) {
			u, err := url.ParseRequestURI(c.path)
			if err != nil {
				b.Fatal(err)
			}
			sent, err := url.ParseRequestURI(c.sent)
			if err != nil {
				b.Fatal(err)
			}
			r := &http.Request{URL: u}
			b.ReportAllocs()
			for b.Loop() {
				escaped := r.URL.EscapedPath()
				_, rest, ok := split(escaped)
				if !ok || urlpath.Check(escaped) != nil {
					b.Fatal(escaped)
				}
				caller := Caller{Sent: sent}
				if at := caller.locate(r, escaped, rest); at.path == "" {
					b.Fatal(at)
				}
			}
		})
	}
}

// BenchmarkRoute is what matching costs a function with many routes.
func BenchmarkRoute(b *testing.B) {
	var routes []string
	for i := range 24 {
		name := string(rune('a' + i))
		routes = append(routes, "GET /"+name, "POST /"+name, "GET /"+name+"/{id}", "GET /"+name+"/{id}/tags/{tag}")
	}
	r := newRouter(routes)
	for name, path := range map[string]string{"literal": "/k", "one name": "/k/42", "two names": "/k/42/tags/blue", "encoded": "/k/a%2Fb", "none": "/k/42/nope"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, fits := r.route("GET", path); fits == (name == "none") {
					b.Fatal(path)
				}
			}
		})
	}
}
