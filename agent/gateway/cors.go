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
	methods     []string // empty: those that the function takes
	anyHeader   bool
	headers     []string
	exposeValue []string // nil: none
	maxAgeValue []string
}

var (
	valueStar = []string{"*"}
	valueTrue = []string{"true"}
)

func newCORS(c *picloud.CORS) *cors {
	if c == nil {
		return nil
	}
	maxAge := time.Duration(c.MaxAge)
	if maxAge == 0 {
		maxAge = picloud.DefaultCORSMaxAge
	}
	out := &cors{
		anyOrigin:   slices.Contains(c.Origins, "*"),
		origins:     c.Origins,
		credentials: c.Credentials,
		methods:     c.Methods,
		anyHeader:   len(c.Headers) == 0 || slices.Contains(c.Headers, "*"),
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

// admit sets the CORS headers of the answer, whatever the answer will be. It reports
// whether the request is a preflight, which preflight then answers.
func (c *cors) admit(w http.ResponseWriter, r *http.Request) (preflight bool) {
	h := w.Header()
	if !c.anyOrigin || c.credentials {
		h.Add("Vary", "Origin")
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	preflight = r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	if !c.allows(origin) {
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
	if !preflight && c.exposeValue != nil {
		h["Access-Control-Expose-Headers"] = c.exposeValue
	}
	return preflight
}

func (c *cors) allows(origin string) bool { return c.anyOrigin || slices.Contains(c.origins, origin) }

// preflight answers in full: no code runs. taken are the methods that the function
// takes at the path. A browser refuses the call when the answer does not list its method.
func (c *cors) preflight(w http.ResponseWriter, r *http.Request, taken []string) {
	h := w.Header()
	if c.allows(r.Header.Get("Origin")) {
		h.Add("Vary", "Access-Control-Request-Method")
		h.Add("Vary", "Access-Control-Request-Headers")
		allowed := taken
		if len(c.methods) > 0 {
			allowed = slices.DeleteFunc(slices.Clone(c.methods), func(m string) bool { return !slices.Contains(taken, m) })
		}
		if slices.Contains(allowed, r.Header.Get("Access-Control-Request-Method")) {
			h["Access-Control-Allow-Methods"] = []string{strings.Join(allowed, ", ")}
			if names := c.allowedHeaders(r.Header.Values("Access-Control-Request-Headers")); names != "" {
				h["Access-Control-Allow-Headers"] = []string{names}
			}
			h["Access-Control-Max-Age"] = c.maxAgeValue
		}
	}
	w.WriteHeader(http.StatusNoContent)
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
