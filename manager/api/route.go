package api

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/urlpath"
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
)

// handle registers the operations, and answers with problems where ServeMux
// would send text.
func (s *server) handle(operations []operation) {
	methods := map[string][]string{}
	for _, op := range operations {
		s.mux.HandleFunc(op.method+" "+op.path, func(w http.ResponseWriter, r *http.Request) {
			if err := op.serve(s, w, r); err != nil {
				s.fail(w, r, err)
			}
		})
		methods[op.path] = append(methods[op.path], op.method)
	}
	if s.o.Metrics != nil {
		s.mux.Handle("GET /metrics", s.o.Metrics)
		methods["/metrics"] = []string{http.MethodGet}
	}
	for path, taken := range methods {
		if slices.Contains(taken, http.MethodGet) {
			taken = append(taken, http.MethodHead)
		}
		allow := strings.Join(slices.Sorted(slices.Values(taken)), ", ")
		s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", allow)
			s.fail(w, r, &picloud.Error{Code: picloud.CodeMethod, Detail: "the path takes " + allow + ", not " + picloud.Shorten(r.Method, 40)})
		})
	}
	s.mux.HandleFunc("/", s.notFound)
}

func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	s.fail(w, r, &picloud.Error{Code: picloud.CodeNotFound, Detail: fmt.Sprintf("there is no path %q", picloud.Shorten(r.URL.Path, 200))})
}

// route hands a request to ServeMux, which matches the path as it was sent and would
// redirect one that is not clean. A path that could be read in two ways is refused, as
// functions refuse it. A key of a key-value store may hold anything that a path may
// not, so ServeMux gets a placeholder instead and the operation gets the key from the
// call: a rule of a proxy by path cannot tell keys apart.
func (s *server) route(w http.ResponseWriter, r *http.Request) {
	if app, key, ok := keyOf(r.URL); ok {
		callOf(r.Context()).key = key
		inner := *r
		inner.URL = &url.URL{Path: "/api/v1/apps/" + app + "/kv/key", RawQuery: r.URL.RawQuery}
		s.mux.ServeHTTP(w, &inner)
		return
	}
	if err := urlpath.Check(r.URL.EscapedPath()); err != nil {
		s.fail(w, r, err)
		return
	}
	if path.Clean(r.URL.Path) != r.URL.Path || !strings.HasPrefix(r.URL.Path, "/") {
		s.notFound(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// keyOf returns the key that a path of a key-value store names: all that
// follows, decoded once, whatever it holds: slashes, dots, percent signs.
func keyOf(u *url.URL) (app, key string, ok bool) {
	segments := strings.SplitN(u.EscapedPath(), "/", 7)
	if len(segments) < 7 || segments[6] == "" || strings.Join(segments[:4], "/") != "/api/v1/apps" || segments[5] != "kv" {
		return "", "", false
	}
	app, appErr := url.PathUnescape(segments[4])
	key, keyErr := url.PathUnescape(segments[6])
	return app, key, appErr == nil && keyErr == nil && picloud.ValidName(app)
}

// bound refuses a body that says it is too long, and cuts one that does not say
// so.
func bound(w http.ResponseWriter, r *http.Request, limit int64) error {
	if r.ContentLength > limit {
		return tooLarge(limit)
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	return nil
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
