package gateway

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPlaces: what a function gets to know of the path, as rules of the proxy leave it.
func TestPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		sent, path, raw, prefix string // path and raw: empty where no rule changed them
		want                    place
	}{
		"plain":               {sent: "/fn/a/f/x", want: place{path: "/x", raw: "/x", base: "/fn/a/f", ours: true}},
		"without the slash":   {sent: "/fn/a/f", want: place{path: "/", raw: "/", base: "/fn/a/f", ours: true, bare: true}},
		"with the slash":      {sent: "/fn/a/f/", want: place{path: "/", raw: "/", base: "/fn/a/f", ours: true}},
		"encoded":             {sent: "/fn/a/f/a%2Fb%20c", want: place{path: "/a/b c", raw: "/a%2Fb%20c", rawPath: "/a%2Fb%20c", base: "/fn/a/f", ours: true}},
		"encoded twice":       {sent: "/fn/a/f/a%252Fb", want: place{path: "/a%2Fb", raw: "/a%252Fb", rawPath: "/a%252Fb", base: "/fn/a/f", ours: true}},
		"UTF-8 as it is":      {sent: "/fn/a/f/ö", want: place{path: "/ö", raw: "/%C3%B6", rawPath: "/%C3%B6", base: "/fn/a/f", ours: true}},
		"prefix stripped":     {sent: "/api/x/y", path: "/fn/a/f/x/y", want: place{path: "/x/y", raw: "/x/y", base: "/api", ours: true}},
		"at the root":         {sent: "/x", path: "/fn/a/f/x", want: place{path: "/x", raw: "/x", base: "", ours: true}},
		"the root":            {sent: "/", path: "/fn/a/f/", want: place{path: "/", raw: "/", base: "", ours: true}},
		"the root, no slash":  {sent: "/", path: "/fn/a/f", want: place{path: "/", raw: "/", base: ""}},
		"one page":            {sent: "/old", path: "/fn/a/f", want: place{path: "/", raw: "/", base: "/old"}},
		"decoded on the way":  {sent: "/api/a%2Fb", path: "/fn/a/f/a/b", want: place{path: "/a/b", raw: "/a%2Fb", rawPath: "/a%2Fb", base: "/api", ours: true}},
		"base is encoded":     {sent: "/caf%C3%A9/x", path: "/fn/a/f/x", want: place{path: "/x", raw: "/x", base: "/caf%C3%A9", ours: true}},
		"something else":      {sent: "/old", path: "/fn/a/f/new", want: place{path: "/new", raw: "/new", base: "/fn/a/f"}},
		"shorter":             {sent: "/n", path: "/fn/a/f/new", want: place{path: "/new", raw: "/new", base: "/fn/a/f"}},
		"to another host":     {sent: "//evil.example/x", path: "/fn/a/f/x", want: place{path: "/x", raw: "/x", base: "/fn/a/f"}},
		"to another host too": {sent: "//evil.example", path: "/fn/a/f", want: place{path: "/", raw: "/", base: "/fn/a/f"}},
		"host in the path":    {sent: "//evil.example/x", path: "/fn/a/f//evil.example/x", want: place{path: "//evil.example/x", raw: "//evil.example/x", base: "/fn/a/f"}},
		"host, encoded":       {sent: "/%2Fevil.example", path: "/fn/a/f//evil.example", raw: "/fn/a/f/%2Fevil.example", want: place{path: "//evil.example", raw: "/%2Fevil.example", rawPath: "/%2Fevil.example", base: "/fn/a/f"}},
		"host by a backslash": {sent: "/%5Cevil.example", path: `/fn/a/f/\evil.example`, want: place{path: `/\evil.example`, raw: "/%5Cevil.example", rawPath: "/%5Cevil.example", base: "/fn/a/f"}},
		"slashes below base":  {sent: "/api//x", path: "/fn/a/f//x", want: place{path: "//x", raw: "//x", base: "/api", ours: true}},
		"a slash goes":        {sent: "//x", path: "/fn/a/f/x", want: place{path: "/x", raw: "/x", base: "/fn/a/f"}},
		"prefix and host":     {sent: "//x", path: "/fn/a/f//x", prefix: "/shop", want: place{path: "//x", raw: "//x", base: "/shop", ours: true}},
		"dots on the way":     {sent: "/a/../b/x", path: "/fn/a/f/x", want: place{path: "/x", raw: "/x", base: "/fn/a/f"}},
		"prefix":              {sent: "/fn/a/f/x", prefix: "/shop", want: place{path: "/x", raw: "/x", base: "/shop/fn/a/f", ours: true}},
		"prefix with slash":   {sent: "/fn/a/f/x", prefix: "/shop/", want: place{path: "/x", raw: "/x", base: "/shop/fn/a/f", ours: true}},
		"prefix and rule":     {sent: "/api/x", path: "/fn/a/f/x", prefix: "/shop", want: place{path: "/x", raw: "/x", base: "/shop/api", ours: true}},
		"hostile prefix":      {sent: "/fn/a/f/x", prefix: "//evil.example", want: place{path: "/x", raw: "/x", base: "/fn/a/f", ours: true}},
		"no path as prefix":   {sent: "/fn/a/f/x", prefix: "shop", want: place{path: "/x", raw: "/x", base: "/fn/a/f", ours: true}},
		"markup as prefix":    {sent: "/fn/a/f/x", prefix: `/"><script>`, want: place{path: "/x", raw: "/x", base: "/fn/a/f", ours: true}},
	} {
		t.Run(name, func(t *testing.T) {
			sent, err := url.ParseRequestURI(c.sent)
			require.NoError(t, err)
			r := httptest.NewRequest("GET", "/", nil)
			r.URL = &url.URL{Path: sent.Path, RawPath: sent.RawPath}
			if c.path != "" {
				r.URL = &url.URL{Path: c.path, RawPath: c.raw}
			}
			escaped := r.URL.EscapedPath()
			_, rest, ok := split(escaped)
			require.True(t, ok)
			caller := Caller{Sent: sent, Prefix: c.prefix}
			require.Equal(t, c.want, caller.locate(r, escaped, rest))
		})
	}
}

// FuzzPlaces: base and raw path together are the client's path, and a link to them
// stays on the host.
func FuzzPlaces(f *testing.F) {
	f.Add("/api/a%2Fb", "/a/b")
	f.Add("//evil/x", "/x")
	f.Fuzz(func(t *testing.T, sent, rest string) {
		u, err := url.ParseRequestURI(sent)
		if err != nil || !strings.HasPrefix(rest, "/") {
			return // another input
		}
		base, raw, ok := behind(u.EscapedPath(), rest)
		if !ok {
			return // another input
		}
		require.Equal(t, u.EscapedPath(), base+raw)
		require.False(t, strings.HasPrefix(base+raw, "//") && base != "")
		decoded, err := url.PathUnescape(raw)
		require.NoError(t, err)
		require.Equal(t, rest, decoded)
	})
}
