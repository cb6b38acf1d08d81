package picloud

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEgressRules(t *testing.T) {
	for text, want := range map[string]string{
		"api.example.org": "", "*.Example.org": "*.example.org", "*": "", "api.example.org:8443": "", "example.org.": "example.org",
		"192.168.1.0/24": "", "192.168.1.7/24": "192.168.1.0/24", "192.168.1.0/24:8123": "", "127.0.0.1:8123": "", "10.1.2.3": "",
		"[fd00::1]:80": "", "fd00::1": "", "fd00::/8": "", "[fd00::/8]:443": "", "::ffff:10.0.0.1": "10.0.0.1", "localhost": "", "*:443": "", "homeassistant.local:8123": "",
		"localhost:8123": "", "LocalHost.:8123": "localhost:8123", "localhost.example": "", "mylocalhost": "",
	} {
		r, err := ParseEgress(text)
		require.NoError(t, err, text)
		if want == "" {
			want = text
		}
		require.Equal(t, want, r.String(), text)
		again, err := ParseEgress(r.String())
		require.NoError(t, err, text)
		require.Equal(t, r, again, text)
	}
	for _, text := range []string{
		"", "https://example.org", "example.org/path", "a b", "*.*.example.org", "ex*mple.org", "-a.org", "10.0.0.0/33", "300.1.2.3", "1.2.3",
		"example.org:0", "example.org:65536", "example.org:x", "[::1", "::ffff:10.0.0.0/100", "fe80::1%eth0", "0x7f.1", "user@example.org", "*.localhost", "db.localhost:5432", "A.LOCALHOST.", "bücher.example", "example.org\xff",
	} {
		_, err := ParseEgress(text)
		require.ErrorIs(t, err, ErrInvalid, text)
	}
	_, err := ParseEgress("db.localhost:5432")
	require.ErrorContains(t, err, "write localhost:5432")
	require.ErrorIs(t, Settings{Egress: []string{"10.0.0.0/8", "http://x"}}.Check(), ErrInvalid)
	require.NoError(t, Settings{Egress: []string{"10.0.0.0/8"}, Env: Env{"A_1": "x"}, Secrets: []string{"TOKEN"}}.Check())
	require.ErrorIs(t, Settings{Env: Env{"A-1": "x"}}.Check(), ErrInvalid)
	require.ErrorIs(t, Settings{Secrets: []string{"a b"}}.Check(), ErrInvalid)
}

func FuzzParseEgress(f *testing.F) {
	for _, s := range []string{"api.example.org:80", "*.x.y", "10.0.0.0/8:1", "[::1]:2", "::/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseEgress(s)
		if err != nil {
			return
		}
		again, err := ParseEgress(r.String())
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
