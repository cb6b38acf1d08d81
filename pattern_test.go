package picloud

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParsePattern(t *testing.T) {
	for text, want := range map[string]Pattern{
		"/":                      {Segments: []Segment{{}}},
		"GET /":                  {Method: "GET", Segments: []Segment{{}}},
		"GET  /items/{id}":       {Method: "GET", Segments: []Segment{{Literal: "items"}, {Param: "id"}}},
		"/items/":                {Segments: []Segment{{Literal: "items"}, {}}},
		"/files/{path...}":       {Segments: []Segment{{Literal: "files"}, {Rest: "path"}}},
		"DELETE /{a}/b/{_c9}":    {Method: "DELETE", Segments: []Segment{{Param: "a"}, {Literal: "b"}, {Param: "_c9"}}},
		"/caf%C3%A9/a%2Fb/größe": {Segments: []Segment{{Literal: "café"}, {Literal: "a/b"}, {Literal: "größe"}}},
	} {
		want.Text = text
		got, err := ParsePattern(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for text, want := range map[string]string{
		"":                  "has no path",
		"items":             "has no path",
		"example.org/items": "has no path",
		"get /items":        `the method "get"`,
		"BREW /tea":         `the method "BREW"`,
		"GET items":         "has no path",
		"GET /a b":          "no blank",
		"/a//b":             "empty segment",
		"/items/:id":        "write {id}",
		"/items/*":          "{name...} for all",
		"/items/{$}":        "leave it out",
		"/x{id}":            "whole segment",
		"/{}":               `has the name ""`,
		"/{a-b}":            `has the name "a-b"`,
		"/{1}":              `has the name "1"`,
		"/{id}/{id}":        `two parts with the name "id"`,
		"/{p...}/x":         "goes on behind {p...}",
		"/a?x=1":            "query",
		"/a#x":              "fragment",
		"/..":               "no request can have",
		"/%2e/a":            "no request can have",
		"/%ff":              "not text",
		"/%00":              "not text",
		"/%zz":              "percent sign",
		"/" + strings.Repeat("a", MaxPatternLength):                            "more than 256 bytes",
		"/" + strings.Repeat("{", 1):                                           "whole segment",
		"/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/{q}": "more than 16 names",
	} {
		_, err := ParsePattern(text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestRoutesThatConflictAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		routes, methods []string
		want            string // empty: fine
	}{
		"as documented":              {routes: []string{"GET /items/{id}", "POST /items", "/files/{path...}"}},
		"literal before name":        {routes: []string{"GET /items/{id}", "GET /items/new", "/items/{id}"}},
		"name before rest":           {routes: []string{"/{path...}", "/{id}", "/", "GET /{id}"}},
		"other methods":              {routes: []string{"GET /{a}/b", "POST /a/{b}"}},
		"HEAD before GET":            {routes: []string{"GET /a", "HEAD /a"}},
		"other lengths":              {routes: []string{"/{a}", "/{a}/", "/{a}/{b}"}},
		"the same":                   {routes: []string{"GET /a", "GET /a"}, want: `both "GET /a" and "GET /a": they match the same requests`},
		"the same by other names":    {routes: []string{"GET /{a}", "GET /{b}"}, want: `"GET /{a}" and "GET /{b}": they match the same requests`},
		"the same, encoded":          {routes: []string{"/a", "/%61"}, want: "match the same requests"},
		"crossed":                    {routes: []string{"/a/{x}", "GET /{y}/b"}, want: `both match GET /a/b, and neither`},
		"crossed, both all methods":  {routes: []string{"/a/{x}", "/{y}/b"}, want: `both match GET /a/b, and neither`},
		"method against path":        {routes: []string{"GET /items/{id}", "/items/new"}, want: `both match GET /items/new, and neither`},
		"HEAD against path":          {routes: []string{"HEAD /{id}", "GET /a"}, want: `both match HEAD /a, and neither`},
		"rest against name":          {routes: []string{"/{a}/b", "/a/{rest...}"}, want: `both match GET /a/b, and neither`},
		"a slash against the rest":   {routes: []string{"GET /a/{r...}", "/a/"}, want: `both match GET /a/, and neither`},
		"not taken":                  {routes: []string{"DELETE /a"}, methods: []string{"GET"}, want: "the function's methods are GET"},
		"HEAD is taken where GET is": {routes: []string{"GET /a", "HEAD /a"}, methods: []string{"GET", "HEAD"}},
		"no pattern":                 {routes: []string{"items"}, want: `cannot have "items": it has no path`},
	} {
		err := Settings{Routes: c.routes, Methods: c.methods}.Check()
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, ErrInvalid, name)
		require.ErrorContains(t, err, c.want, name)
	}
	require.ErrorContains(t, Settings{Routes: make([]string, MaxPatterns+1)}.Check(), "at most 100")
}

// TestExamplesOfConflictsAreMatchedByBoth, and patterns without conflict have no
// request that would not know where to go.
func TestExamplesOfConflictsAreMatchedByBoth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q := drawPattern(t), drawPattern(t)
		example, conflict := p.Conflict(q)
		_, other := q.Conflict(p)
		require.Equal(t, conflict, other, "in either order")
		if !conflict {
			return
		}
		method, path, _ := strings.Cut(example, " ")
		require.True(t, p.Takes(method) && q.Takes(method), "%s and %s: %s", p.Text, q.Text, example)
		require.True(t, naive(p, path) && naive(q, path), "%s and %s: %s", p.Text, q.Text, example)
	})
}

func drawPattern(t *rapid.T) Pattern {
	method := rapid.SampledFrom([]string{"", "GET ", "HEAD ", "POST "}).Draw(t, "method")
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "{%}"}), 0, 3).Draw(t, "parts")
	parts = append(parts, rapid.SampledFrom([]string{"a", "b", "", "{%}", "{%...}"}).Draw(t, "last"))
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], "%", string(rune('k'+i)))
	}
	p, err := ParsePattern(method + "/" + strings.Join(parts, "/"))
	require.NoError(t, err)
	return p
}

// naive matches a path as the documentation says it.
func naive(p Pattern, path string) bool {
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
