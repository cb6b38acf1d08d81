package egress

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/picloud/picloud"
)

// forbidden are the header lines that belong to the connection and not to the
// request. A script that sets them could make the server read another request than
// the one that was checked (request smuggling).
var forbidden = []string{
	"Host", "Connection", "Keep-Alive", "Transfer-Encoding", "Content-Length", "Upgrade", "Te", "Trailer", "Expect", "Http2-Settings",
}

// harmless are the header lines that a redirect to another host keeps. All
// others may be credentials.
var harmless = []string{
	"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Encoding", "Content-Language",
	"Content-Type", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Pragma", "Range", "User-Agent",
}

func keepHarmless(h http.Header) {
	for name := range h {
		if !slices.Contains(harmless, name) {
			delete(h, name)
		}
	}
}

// complete checks the request, fills in the defaults and returns its header.
func (r *Request) complete() (http.Header, *Error) {
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if upper := strings.ToUpper(r.Method); slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, upper) {
		r.Method = upper
	}
	switch upper := strings.ToUpper(r.Method); {
	case len(r.Method) > 32 || !httpguts.ValidHeaderFieldName(r.Method):
		return nil, failed(CodeInvalid, "%q is not a valid method", picloud.Shorten(r.Method, 40))
	case upper == http.MethodConnect || upper == http.MethodTrace:
		return nil, failed(CodeInvalid, "the method %s is not for functions", upper)
	}
	if len(r.Body) > MaxRequestBody {
		return nil, failed(CodeInvalid, "the body is over the limit of %s", picloud.Size(MaxRequestBody))
	}
	if r.Timeout < 0 || r.MaxBody < 0 || r.MaxBody > MaxBody || r.Redirects > MaxRedirects {
		return nil, failed(CodeInvalid, "timeout is positive, max_body at most %d, redirects at most %d", MaxBody, MaxRedirects)
	}
	if r.Timeout == 0 {
		r.Timeout = DefaultTimeout
	}
	if r.MaxBody == 0 {
		r.MaxBody = DefaultBody
	}
	if r.Redirects == 0 {
		r.Redirects = DefaultRedirects
	}
	return readHeader(r.Header)
}

func readHeader(fields []Field) (http.Header, *Error) {
	if len(fields) > maxFields {
		return nil, failed(CodeInvalid, "more than %d header lines", maxFields)
	}
	h := make(http.Header, len(fields)+1)
	size := 0
	for _, f := range fields {
		size += len(f.Name) + len(f.Value)
		if size > maxRequestHeader {
			return nil, failed(CodeInvalid, "more than %s of headers", picloud.Size(maxRequestHeader))
		}
		if !httpguts.ValidHeaderFieldName(f.Name) {
			return nil, failed(CodeInvalid, "%q is not a valid name of a header", picloud.Shorten(f.Name, 80))
		}
		name := http.CanonicalHeaderKey(f.Name)
		if slices.Contains(forbidden, name) || strings.HasPrefix(name, "Proxy-") {
			return nil, failed(CodeInvalid, "the header %s is not for functions to set", name)
		}
		if !httpguts.ValidHeaderFieldValue(f.Value) {
			return nil, failed(CodeInvalid, "the header %s has a value with control characters", name)
		}
		h[name] = append(h[name], f.Value)
	}
	if h["User-Agent"] == nil {
		h["User-Agent"] = []string{"PiCloud"}
	}
	return h, nil
}
