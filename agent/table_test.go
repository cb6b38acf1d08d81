package agent

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestMatch(t *testing.T) {
	ep := &endpoint{}
	table := &table{endpoints: map[picloud.RouteKey]*endpoint{{App: "shop", Function: "cart"}: ep}}
	for path, want := range map[string]struct {
		found, function bool
		rest            string
	}{
		"/fn/shop/cart":          {true, true, "/"},
		"/fn/shop/cart/":         {true, true, "/"},
		"/fn/shop/cart/a//b":     {true, true, "/a//b"},
		"/fn/shop/cart/../other": {true, true, "/../other"},
		"/fn/shop":               {false, true, ""},
		"/fn/":                   {false, true, ""},
		"/fn/shop/cartoon":       {false, true, ""},
		"/fn//cart":              {false, true, ""},
		"/fn":                    {false, false, ""},
		"/":                      {false, false, ""},
		"/index.html":            {false, false, ""},
	} {
		got, rest, function := table.match(path)
		require.Equal(t, want.function, function, path)
		require.Equal(t, want.found, got == ep, path)
		if want.found {
			require.Equal(t, want.rest, rest, path)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("/fn/a/b/c")
	table := &table{endpoints: map[picloud.RouteKey]*endpoint{{App: "a", Function: "b"}: {}}}
	f.Fuzz(func(t *testing.T, path string) {
		ep, rest, function := table.match(path)
		require.Equal(t, strings.HasPrefix(path, "/fn/"), function)
		if ep != nil {
			require.True(t, strings.HasPrefix(rest, "/"))
			require.True(t, path == "/fn/a/b" || strings.HasPrefix(path, "/fn/a/b/"))
		}
	})
}

func TestCallIDsAreUniqueAcrossProcesses(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		ids := newCallIDs()
		for range 2000 {
			id := ids.id()
			require.Len(t, id, 18)
			require.False(t, seen[id])
			seen[id] = true
		}
	}
}
