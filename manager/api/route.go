package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/picloud/picloud"
)

// Bounds of request bodies, in bytes.
const (
	maxJSON = 64 << 10
	// maxSource is above what a script may have, so that one that is slightly
	// too long gets to know by how much.
	maxSource = picloud.MaxSourceSize + 4<<10
	maxDraft  = 1 << 20   // a script and a request's body, as JSON strings
	maxConfig = 256 << 10 // variables, or a secret, with what JSON escapes
	maxValue  = 1 << 20   // of a key, as JSON
	// maxDiscard is how much of a body that is refused is read all the same.
	maxDiscard = 2 << 20
)

const (
	appPattern   = "/api/v1/apps/{app}"
	functionPath = appPattern + "/functions/{function}"
)

// maxBody are the bodies that are not bounded by maxJSON, by pattern.
var maxBody = map[string]int64{
	"PUT " + functionPath + "/code":           maxSource,
	"POST " + functionPath + "/validate":      maxSource,
	"POST " + functionPath + "/test":          maxDraft,
	"PATCH " + functionPath:                   maxConfig,
	"PUT " + appPattern + "/env":              maxConfig,
	"PUT " + appPattern + "/secrets/{secret}": maxConfig,
	"PUT " + appPattern + "/kv/{key}":         maxValue,
}

// route serves what openapi.yaml knows, and answers for the rest with problems
// where ServeMux would send text and redirects.
func (s *server) route(w http.ResponseWriter, r *http.Request) {
	notFound := &picloud.Error{Code: picloud.CodeNotFound, Detail: fmt.Sprintf("there is no path %q", picloud.Shorten(r.URL.Path, 200))}
	if key, ok := withKey(r.URL); ok {
		inner := *r
		inner.URL = key
		r = &inner
	} else if path.Clean(r.URL.Path) != r.URL.Path {
		s.fail(w, r, notFound)
		return
	}
	h, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	refused := &refusal{header: http.Header{}}
	h.ServeHTTP(refused, r)
	if refused.status != http.StatusMethodNotAllowed {
		s.fail(w, r, notFound)
		return
	}
	allow := refused.header.Get("Allow")
	w.Header().Set("Allow", allow)
	s.fail(w, r, &picloud.Error{Code: picloud.CodeMethod, Detail: "the path takes " + allow + ", not " + picloud.Shorten(r.Method, 40)})
}

// keyMark stands before a key in its segment of the path, since ServeMux takes
// a segment that is a slash for none.
const keyMark = ":"

// withKey returns the URL of a key of a key-value store with the key, marked, as
// one segment of the path, whatever it holds: slashes, dots, percent signs.
func withKey(u *url.URL) (*url.URL, bool) {
	segments := strings.SplitN(u.EscapedPath(), "/", 7)
	if len(segments) < 7 || segments[6] == "" || strings.Join(segments[:4], "/") != "/api/v1/apps" || segments[5] != "kv" {
		return nil, false
	}
	app, appErr := url.PathUnescape(segments[4])
	key, keyErr := url.PathUnescape(segments[6])
	if appErr != nil || keyErr != nil || !picloud.ValidName(app) {
		return nil, false
	}
	out := *u
	out.Path = "/api/v1/apps/" + app + "/kv/" + keyMark + key
	out.RawPath = "/api/v1/apps/" + app + "/kv/" + keyMark + url.PathEscape(key)
	return &out, true
}

// refusal takes what ServeMux says about a request that it does not route.
type refusal struct {
	header http.Header
	status int
}

func (f *refusal) Header() http.Header         { return f.header }
func (f *refusal) WriteHeader(status int)      { f.status = status }
func (f *refusal) Write(b []byte) (int, error) { return len(b), nil }

// bound gives a call its limits: size and time, and names that can exist.
func (s *server) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := checkNames(r); err != nil {
			s.fail(w, r, err)
			return
		}
		limit, ok := maxBody[r.Pattern]
		if !ok {
			limit = maxJSON
		}
		if r.ContentLength > limit {
			if r.Header.Get("Expect") == "" {
				// A caller that is still sending when the connection closes may
				// never see the answer.
				_, _ = io.CopyN(io.Discard, r.Body, maxDiscard)
			}
			s.fail(w, r, tooLarge(limit))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		if r.Pattern != "GET "+functionPath+"/logs" { // a followed log lasts
			ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// checkNames spares the stores names that nothing can have. PUT might create
// what the path names, so it says what is wrong with it; nothing else is there.
func checkNames(r *http.Request) error {
	for _, field := range []string{"app", "function", "user", "node"} {
		name := r.PathValue(field)
		if name == "" || picloud.ValidName(name) {
			continue
		}
		if r.Method == http.MethodPut {
			return picloud.CheckName(field, name)
		}
		return &picloud.Error{Code: picloud.CodeNotFound, Detail: fmt.Sprintf("there is no %s %q", field, picloud.Shorten(name, 80))}
	}
	return nil
}

func tooLarge(limit int64) error {
	if limit == maxSource {
		return &picloud.Error{
			Code: picloud.CodeTooLarge, Detail: fmt.Sprintf("the script has more than the %d bytes that are allowed", picloud.MaxSourceSize),
			Hint: "move data out of the script, or split it into several functions",
		}
	}
	return &picloud.Error{Code: picloud.CodeTooLarge, Detail: fmt.Sprintf("the request's body has more than %d bytes", limit)}
}
