package egress

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTargets(t *testing.T) {
	for text, want := range map[string]string{
		"http://Example.ORG":               "http://example.org/",
		"HTTPS://example.org:443/a?b#c":    "https://example.org/a?b",
		"http://example.org.:8080/x":       "http://example.org:8080/x",
		"http://example.org:/x":            "http://example.org/x",
		"http://bücher.example/ä":          "http://xn--bcher-kva.example/%C3%A4",
		"http://XN--BCHER-KVA.example/":    "http://xn--bcher-kva.example/",
		"http://１２７.0.0.1/":                "http://127.0.0.1/",
		"http://127。0。0。1/":                "http://127.0.0.1/",
		"http://127.0.0.1./":               "http://127.0.0.1/",
		"http://[::1]:81/":                 "http://[::1]:81/",
		"http://[::FFFF:127.0.0.1]/":       "http://127.0.0.1/",
		"http://[::ffff:7f00:1]:8081/":     "http://127.0.0.1:8081/",
		"http://[0:0:0:0:0:0:0:1]/":        "http://[::1]/",
		"http://localhost:8081":            "http://localhost:8081/",
		"http://_x.example.org/":           "http://_x.example.org/",
		"https://example.org:80/?q=a b":    "https://example.org:80/?q=a%20b",
		"http://example.org/?q=ä HTTP/1.1": "http://example.org/?q=%C3%A4%20HTTP/1.1",
		"http://example.org/a b?x=%20&y=1": "http://example.org/a%20b?x=%20&y=1",
		"http://example.org/%2e%2e/secret": "http://example.org/%2e%2e/secret",
	} {
		got, err := parseTarget(text, nil)
		require.Nil(t, err, text)
		require.Equal(t, want, got.url.String(), text)
	}
	for _, text := range []string{
		"", "/path", "//example.org/", "example.org", "ftp://example.org/", "file:///etc/passwd", "gopher://x/", "unix:///run/x.sock", "http:", "http://", "http:///x", "http:example.org",
		"http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/", "http://127.0.0.01/", "http://1.2.3.4.5/", "http://0/", "http://0x/", "http://example.1/",
		"http://user@example.org/", "http://user:pass@example.org/", "http://@example.org/", "http://a@127.0.0.1@example.org/",
		"http://example.org:0/", "http://example.org:65536/", "http://example.org:-1/", "http://example.org:8081:80/", "http://example.org:80a/", "http://example.org: 80/",
		"http://[::1%25lo]/", "http://[fe80::1%25eth0]/", "http://[::1/", "http://::1/", "http://[127.0.0.1]x/", "http://[example.org]/",
		"http://exa mple.org/", "http://example.org\\@127.0.0.1/", "http://example.org%00.x/", "http://%31%32%37.0.0.1/", "http://a..b/", "http://.a/", "http://a../", "http://-a/", "http://a%2eb/", "http://exa\nmple.org/",
		"http://" + strings.Repeat("a.", 127) + "a/", "http://x/" + strings.Repeat("a", maxURL), "http://a*b/", "http://*/",
	} {
		_, err := parseTarget(text, nil)
		require.NotNil(t, err, text)
		require.Equal(t, CodeInvalid, err.Code)
		require.Less(t, len(err.Message), 500)
	}
	base, err := url.Parse("https://example.org/a/b?c")
	require.NoError(t, err)
	for text, want := range map[string]string{
		"d": "https://example.org/a/d", "/d": "https://example.org/d", "//other.org": "https://other.org/", "http://x.org": "http://x.org/", "?e": "https://example.org/a/b?e",
	} {
		got, err := parseTarget(text, base)
		require.Nil(t, err, text)
		require.Equal(t, want, got.url.String(), text)
	}
}

func TestOrigins(t *testing.T) {
	same := func(a, b string) bool {
		x, err := parseTarget(a, nil)
		require.Nil(t, err)
		y, err := parseTarget(b, nil)
		require.Nil(t, err)
		return x.sameOrigin(y)
	}
	require.True(t, same("http://a.org/1", "http://A.org:80/2"))
	require.True(t, same("http://a.org", "https://a.org"))
	require.False(t, same("https://a.org", "http://a.org"))
	require.False(t, same("http://a.org", "http://a.org:81"))
	require.False(t, same("http://a.org:81", "https://a.org"))
	require.False(t, same("http://a.org", "http://b.a.org"))
}

// FuzzTarget: what was taken is stable, and is an address or a name but nothing
// that could be read as either.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"http://example.org:80/a", "http://[::1]/", "http://１２７.1/", "https://bücher.example./", "http://0x7f.1", "http://user@h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseTarget(text, nil)
		if err != nil {
			return
		}
		again, err := parseTarget(got.url.String(), nil)
		require.Nil(t, err, got.url.String())
		require.Equal(t, got.host, again.host)
		require.Equal(t, got.port, again.port)
		require.Equal(t, got.addr, again.addr)
		require.Nil(t, got.url.User)
		require.NotContains(t, got.url.RequestURI(), " ")
		_, parse := netip.ParseAddr(got.host)
		require.Equal(t, got.addr.IsValid(), parse == nil)
		if !got.addr.IsValid() {
			require.True(t, hostName.MatchString(got.host))
			last := got.host[strings.LastIndexByte(got.host, '.')+1:]
			require.NotEmpty(t, strings.Trim(last, "0123456789"))
		}
	})
}
