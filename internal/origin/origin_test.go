package origin

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestHosts(t *testing.T) {
	g := NewGuard("Pi-1", "pi-1.local", "pi.example.org", "")
	check := func(host string) error {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Host = host
		return g.Check(r)
	}
	for _, host := range []string{
		"", "localhost", "localhost:8081", "LOCALHOST.", "app.localhost:1", "127.0.0.1:8081", "127.9.9.9", "[::1]:8081", "::1", "[::ffff:127.0.0.1]:1",
		"pi-1", "PI-1.local:8081", "pi.example.org.:8081",
	} {
		require.NoError(t, check(host), host)
	}
	for _, host := range []string{
		"evil.example", "evil.example:8081", "localhost.evil.example", "pi-1.local.evil.example", "xlocalhost", "8.8.8.8", "[2001:db8::1]:8081", "0.0.0.0:8081",
		"127.0.0.1.evil.example", "127.1", "2130706433", "a@localhost", "localhost:8081:1", "local host",
	} {
		require.Equal(t, picloud.CodeForeignHost, picloud.CodeOf(check(host)), host)
	}
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range all {
		require.NoError(t, check(net.JoinHostPort(a.(*net.IPNet).IP.String(), "8081")), a)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host, r.TLS = "other.example.org:8081", &tls.ConnectionState{ServerName: "other.example.org"}
	require.NoError(t, g.Check(r), "its certificate proved the name")
	r.TLS.ServerName = "another.example.org"
	require.Error(t, g.Check(r))
}

func TestOrigins(t *testing.T) {
	g := NewGuard()
	check := func(method string, header ...string) error {
		r := httptest.NewRequest(method, "/api/v1/apps", nil)
		r.Host = "localhost:8081"
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return g.Check(r)
	}
	require.NoError(t, check(http.MethodPost), "programs send none")
	require.NoError(t, check(http.MethodPost, "Origin", "http://localhost:8081"))
	require.NoError(t, check(http.MethodPost, "Origin", "http://localhost:8081", "Sec-Fetch-Site", "same-origin"))
	require.NoError(t, check(http.MethodGet, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"), "it changes nothing, and cannot be read")
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, "STRANGE"} {
		for _, origin := range []string{"https://evil.example", "http://localhost:9999", "null", "http://127.0.0.1:8081"} {
			require.Equal(t, picloud.CodeForeignOrigin, picloud.CodeOf(check(method, "Origin", origin)), "%s %s", method, origin)
		}
	}
	require.Error(t, check(http.MethodPost, "Sec-Fetch-Site", "cross-site"))
}
