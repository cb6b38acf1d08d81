package urlpath

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestCheck(t *testing.T) {
	for _, ok := range []string{
		"", "/", "/fn/default/echo", "/fn/default/echo/", "/a//b", "/.well-known/x", "/a/...", "/a/..b", "/a/b..", "/a/.b/c.", "/a%2Fb", "/a%252e%252e/b",
		"/a%5Cb", "/%E2%82%AC", "/a;..;b", "/..;/a", "/%25", "/a%20b", "*", "/a%2F.b", "/x%2e%2e", "/%3F%23",
	} {
		require.NoError(t, Check(ok), ok)
		require.False(t, HasDots(ok), ok)
	}
	for _, dotted := range []string{
		"/..", "/.", "/../", "/a/./b", "/a/../b", "/a/..", "/%2e%2e/a", "/%2E%2e", "/.%2e/a", "/%2e./a", "/%2e", "/a%2F..", "/a%2f..%2fb", "/..%2Fa", "/a%2F.", "/%2e%2e%2fa",
		"/a%5C..%5Cb", "/..%5Ca", "/a%5c..", "..", "../a", ".",
	} {
		require.True(t, HasDots(dotted), dotted)
		require.Equal(t, picloud.CodePath, picloud.CodeOf(Check(dotted)), dotted)
	}
	for _, bad := range []string{"/%00", "/a%0Ab", "/a%0d%0ab", "/%7f", "/%09", "/%ff", "/%C3", "/%c0%ae%c0%ae/a", "/%ED%A0%80", "/%F4%90%80%80", "/%", "/%zz", "/%1"} {
		require.False(t, HasDots(bad), bad)
		require.Equal(t, picloud.CodePath, picloud.CodeOf(Check(bad)), bad)
	}
}

// FuzzCheck: whoever cleans or decodes an accepted path, in whatever order, comes to
// the same place, empty segments aside.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"/a/../b", "/a%2f..%2fb", "/a//b", "/%2e", "/a%5c..", "/%252e%252e/a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.ParseRequestURI("/" + text)
		if err != nil {
			return // another input
		}
		escaped := u.EscapedPath()
		if Check(escaped) != nil {
			return // another input
		}
		decoded, err := url.PathUnescape(escaped)
		require.NoError(t, err)
		require.Equal(t, u.Path, decoded)
		merged := decoded
		for strings.Contains(merged, "//") {
			merged = strings.ReplaceAll(merged, "//", "/")
		}
		cleaned := path.Clean(decoded)
		require.Equal(t, strings.TrimSuffix(merged, "/"), strings.TrimSuffix(cleaned, "/"), "cleaning takes no segment away")
	})
}
