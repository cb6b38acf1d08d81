package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestCORS(t *testing.T) {
	exact := &picloud.CORS{
		Origins: []string{"https://a.example"}, Methods: []string{"GET", "PUT"}, Headers: []string{"X-One"},
		Expose: []string{"X-Out"}, Credentials: true,
	}
	star := &picloud.CORS{Origins: []string{"*"}, Headers: []string{"*"}}
	type headers map[string]string
	cases := []struct {
		name     string
		cors     *picloud.CORS
		taken    []string
		method   string
		request  headers
		answered bool
		want     headers // empty value: must be absent
	}{
		{"no origin", exact, picloud.Methods(), "GET", nil, false, headers{"Access-Control-Allow-Origin": "", "Vary": "Origin"}},
		{"allowed origin", exact, picloud.Methods(), "GET", headers{"Origin": "https://a.example"}, false, headers{
			"Access-Control-Allow-Origin": "https://a.example", "Access-Control-Allow-Credentials": "true",
			"Access-Control-Expose-Headers": "X-Out", "Vary": "Origin",
		}},
		{"other origin", exact, picloud.Methods(), "GET", headers{"Origin": "https://evil.example"}, false, headers{"Access-Control-Allow-Origin": "", "Vary": "Origin"}},
		{"plain OPTIONS reaches the function", exact, picloud.Methods(), "OPTIONS", headers{"Origin": "https://a.example"}, false, nil},
		{"preflight", exact, picloud.Methods(), "OPTIONS", headers{
			"Origin": "https://a.example", "Access-Control-Request-Method": "PUT",
			"Access-Control-Request-Headers": "x-one, x-two",
		}, true, headers{
			"Access-Control-Allow-Methods": "GET, PUT", "Access-Control-Allow-Headers": "x-one", "Access-Control-Max-Age": "600",
		}},
		{"preflight of a method that is not allowed", exact, picloud.Methods(), "OPTIONS", headers{
			"Origin": "https://a.example", "Access-Control-Request-Method": "DELETE",
		}, true, headers{"Access-Control-Allow-Methods": ""}},
		{"preflight from elsewhere runs no code", exact, picloud.Methods(), "OPTIONS", headers{
			"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT",
		}, true, headers{"Access-Control-Allow-Origin": "", "Access-Control-Allow-Methods": ""}},
		{"any origin", star, picloud.Methods(), "GET", headers{"Origin": "https://b.example"}, false, headers{
			"Access-Control-Allow-Origin": "*", "Vary": "", "Access-Control-Allow-Credentials": "",
		}},
		{"any header", star, picloud.Methods(), "OPTIONS", headers{
			"Origin": "https://b.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-Whatever",
		}, true, headers{"Access-Control-Allow-Headers": "x-whatever", "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}},
		{"all methods and headers are the default", &picloud.CORS{Origins: []string{"https://a.example"}}, picloud.Methods(), "OPTIONS", headers{
			"Origin": "https://a.example", "Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "content-type,authorization",
		}, true, headers{"Access-Control-Allow-Headers": "content-type, authorization", "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}},
		{"what the function takes there", star, []string{"GET", "HEAD"}, "OPTIONS", headers{
			"Origin": "https://b.example", "Access-Control-Request-Method": "GET",
		}, true, headers{"Access-Control-Allow-Methods": "GET, HEAD"}},
		{"what the function does not take there", star, []string{"GET", "HEAD"}, "OPTIONS", headers{
			"Origin": "https://b.example", "Access-Control-Request-Method": "PUT",
		}, true, headers{"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": ""}},
		{"a list of more than the function takes", exact, []string{"GET", "HEAD"}, "OPTIONS", headers{
			"Origin": "https://a.example", "Access-Control-Request-Method": "PUT",
		}, true, headers{"Access-Control-Allow-Methods": ""}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "/fn/a/b", nil)
			for k, v := range c.request {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			cors := newCORS(c.cors)
			require.Equal(t, c.answered, cors.admit(w, r))
			if c.answered {
				cors.preflight(w, r, c.taken)
				require.Equal(t, http.StatusNoContent, w.Code)
			}
			for k, v := range c.want {
				require.Equal(t, v, w.Header().Get(k), k)
			}
		})
	}
}
