package gateway

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestMatch(t *testing.T) {
	ep := &Endpoint{}
	table := Table{{App: "shop", Function: "cart"}: ep}
	for path, want := range map[string]struct {
		found, function bool
		rest            string
	}{
		"/fn/shop/cart":        {true, true, ""},
		"/fn/shop/cart/":       {true, true, "/"},
		"/fn/shop/cart/a//b":   {true, true, "/a//b"},
		"/fn/shop/cart/a%2Fb":  {true, true, "/a%2Fb"},
		"/fn/shop%2Fcart":      {false, true, ""},
		"/fn/shop/cart%2Fa":    {false, true, ""},
		"/fn/shop/%63art":      {false, true, ""},
		"/fn/shop/cart%2F../x": {false, true, ""},
		"/fn/shop":             {false, true, ""},
		"/fn/":                 {false, true, ""},
		"/fn/shop/cartoon":     {false, true, ""},
		"/fn//cart":            {false, true, ""},
		"/fn//shop/cart":       {false, true, ""},
		"/fn":                  {false, false, ""},
		"/%66n/shop/cart":      {false, false, ""},
		"//fn/shop/cart":       {false, false, ""},
		"/FN/shop/cart":        {false, false, ""},
		"/":                    {false, false, ""},
		"/index.html":          {false, false, ""},
	} {
		key, rest, function := split(path)
		require.Equal(t, want.function, function, path)
		require.Equal(t, want.found, table[key] == ep, path)
		if want.found {
			require.Equal(t, want.rest, rest, path)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("/fn/a/b/c")
	f.Fuzz(func(t *testing.T, path string) {
		key, rest, function := split(path)
		require.Equal(t, strings.HasPrefix(path, "/fn/"), function)
		if key == (picloud.RouteKey{App: "a", Function: "b"}) {
			require.Equal(t, path, "/fn/a/b"+rest)
			require.True(t, rest == "" || strings.HasPrefix(rest, "/"))
		}
	})
}
