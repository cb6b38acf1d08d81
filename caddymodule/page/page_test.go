package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhoWantsAPage(t *testing.T) {
	const firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for name, c := range map[string]struct {
		method string
		accept []string
		want   bool
	}{
		"browser":         {"GET", []string{firefox}, true},
		"several fields":  {"GET", []string{"application/json", "Text/HTML;q=0.5"}, true},
		"HEAD":            {"HEAD", []string{firefox}, true},
		"form":            {"POST", []string{firefox}, false},
		"curl":            {"GET", []string{"*/*"}, false},
		"nothing":         {"GET", nil, false},
		"JSON":            {"GET", []string{"application/json"}, false},
		"refused":         {"GET", []string{"text/html;q=0, application/json"}, false},
		"other text":      {"GET", []string{"text/htmlx, text/*"}, false},
		"not well formed": {"GET", []string{";;;,,text/html/x"}, false},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		r.Header["Accept"] = c.accept
		require.Equal(t, c.want, Wanted(r), name)
	}
}

func TestPagesRunNothing(t *testing.T) {
	for name, c := range map[string]struct {
		serve  func(http.ResponseWriter, *http.Request)
		status int
		says   string
	}{
		"functions": {Functions, 404, "Nothing is deployed at this path"},
		"control":   {Control, 200, "picloud login --server"},
	} {
		w := httptest.NewRecorder()
		c.serve(w, httptest.NewRequest("GET", "/<script>alert(1)</script>", nil))
		require.Equal(t, c.status, w.Code, name)
		body := w.Body.String()
		require.Contains(t, body, c.says)
		require.Contains(t, body, "<style>:root{", "the sheet is in its place")
		require.NotContains(t, body, "script")
		require.Equal(t, 1, strings.Count(body, "<style>"))
		require.Regexp(t, `^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; `, w.Header().Get("Content-Security-Policy"))
		require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
		w = httptest.NewRecorder()
		c.serve(w, httptest.NewRequest("HEAD", "/", nil))
		require.Empty(t, w.Body.String())
		require.NotEqual(t, "0", w.Header().Get("Content-Length"))
	}
}
