package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

// cors answers cross-origin requests before code runs, after the CORS protocol
// of the Fetch standard. Its header values are built once per deployment.
type cors struct {
	anyOrigin   bool
	origins     []string
	credentials bool
	methods     []string
	anyHeader   bool
	headers     []string
	exposeValue []string // nil: none
	methodValue []string
	maxAgeValue []string
}

var (
	valueStar = []string{"*"}
	valueTrue = []string{"true"}
)

func newCORS(c *picloud.CORS, methods []string) *cors {
	if c == nil {
		return nil
	}
	allowed := c.Methods
	if len(allowed) == 0 {
		allowed = methods
	}
	if len(allowed) == 0 {
		allowed = []string{http.MethodGet, http.MethodHead, http.MethodPost}
	}
	maxAge := time.Duration(c.MaxAge)
	if maxAge == 0 {
		maxAge = 10 * time.Minute
	}
	out := &cors{
		anyOrigin:   slices.Contains(c.Origins, "*"),
		origins:     c.Origins,
		credentials: c.Credentials,
		methods:     allowed,
		anyHeader:   slices.Contains(c.Headers, "*"),
		methodValue: []string{strings.Join(allowed, ", ")},
		maxAgeValue: []string{strconv.Itoa(int(maxAge.Seconds()))},
	}
	for _, h := range c.Headers {
		out.headers = append(out.headers, strings.ToLower(h))
	}
	if len(c.Expose) > 0 {
		out.exposeValue = []string{strings.Join(c.Expose, ", ")}
	}
	return out
}

// apply sets the CORS headers of the answer. It reports whether the request
// was a preflight, which is then answered in full.
func (c *cors) apply(w http.ResponseWriter, r *http.Request) (answered bool) {
	h := w.Header()
	if !c.anyOrigin || c.credentials {
		h.Add("Vary", "Origin")
	}
	origin := r.Header.Get("Origin")
	requested := r.Header.Get("Access-Control-Request-Method")
	preflight := r.Method == http.MethodOptions && origin != "" && requested != ""
	if origin == "" || !c.anyOrigin && !slices.Contains(c.origins, origin) {
		if preflight {
			// No CORS headers: the browser refuses the call, and no code has run.
			w.WriteHeader(http.StatusNoContent)
		}
		return preflight
	}
	if c.anyOrigin {
		h["Access-Control-Allow-Origin"] = valueStar
	} else {
		h["Access-Control-Allow-Origin"] = []string{origin}
	}
	if c.credentials {
		h["Access-Control-Allow-Credentials"] = valueTrue
	}
	if !preflight {
		if c.exposeValue != nil {
			h["Access-Control-Expose-Headers"] = c.exposeValue
		}
		return false
	}
	h.Add("Vary", "Access-Control-Request-Method")
	h.Add("Vary", "Access-Control-Request-Headers")
	if slices.Contains(c.methods, requested) {
		h["Access-Control-Allow-Methods"] = c.methodValue
		if allowed := c.allowedHeaders(r.Header.Values("Access-Control-Request-Headers")); allowed != "" {
			h["Access-Control-Allow-Headers"] = []string{allowed}
		}
		h["Access-Control-Max-Age"] = c.maxAgeValue
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// allowedHeaders returns those of the requested header names that may be sent.
func (c *cors) allowedHeaders(requested []string) string {
	var out []string
	for _, line := range requested {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.ToLower(strings.TrimSpace(name))
			if name != "" && (c.anyHeader || slices.Contains(c.headers, name)) {
				out = append(out, name)
			}
		}
	}
	return strings.Join(out, ", ")
}
