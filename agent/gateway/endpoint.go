package gateway

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/invoke"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/trigger"
	"github.com/picloud/picloud/internal/budget"
	"github.com/picloud/picloud/internal/problem"
)

// Endpoint serves one version of one function over HTTP. It is immutable; a
// deploy makes another one.
type Endpoint struct {
	gateway      *Gateway
	function     *invoke.Function
	methods      []string // empty: all
	cors         *cors
	bodies       *budget.Budget // of the app
	versionValue []string       // a header value, shared by all answers
}

// NewEndpoint returns the endpoint of a function.
func (g *Gateway) NewEndpoint(f *invoke.Function) *Endpoint {
	s := &f.Route.Settings
	return &Endpoint{
		gateway: g, function: f, bodies: g.opts.Bodies.Part(f.Route.App), methods: s.Methods, cors: newCORS(s.CORS, s.Methods),
		versionValue: []string{"v" + strconv.Itoa(f.Route.Version)},
	}
}

// Function returns what the endpoint calls.
func (e *Endpoint) Function() *invoke.Function { return e.function }

// serve answers one request. rest is the path below the function.
func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request, rest, clientIP string) {
	if e.cors != nil && e.cors.apply(w, r) {
		return
	}
	if len(e.methods) > 0 && !slices.Contains(e.methods, r.Method) {
		w.Header().Set("Allow", strings.Join(e.methods, ", "))
		e.fail(w, e.function.NewID(), &picloud.Error{
			Code: picloud.CodeFunctionMethod, Op: "call function", Resource: e.function.Resource(),
			Detail: "it takes " + strings.Join(e.methods, ", ") + ", not " + picloud.Shorten(r.Method, 20),
		})
		return
	}
	call := e.function.Begin()
	status, err := e.call(w, r, call.ID, rest, clientIP)
	call.End(trigger.HTTP, r.Method, rest, status, err)
	if err == nil {
		return
	}
	switch picloud.CodeOf(err) {
	case picloud.CodeRequestTooLarge, picloud.CodeOverload:
		problem.Linger(w, r) // not the function's time
	}
}

// call runs the function and writes its answer, or the error that took its
// place. It returns the status that was sent and that error.
func (e *Endpoint) call(w http.ResponseWriter, r *http.Request, id, rest, clientIP string) (status int, err error) {
	body, err := e.readBody(r)
	if err != nil {
		problem.Last(w) // what is left of the body does not have to come
		return e.fail(w, id, err), err
	}
	call := executor.Call{
		ID: id, Method: r.Method, Path: rest, RawQuery: r.URL.RawQuery,
		Header: withoutSession(r.Header), Host: r.Host, ClientIP: clientIP,
	}
	if body != nil {
		call.Body = body.Bytes()
	}
	result, err := e.function.Invoke(r.Context(), &call)
	if body != nil {
		body.release(e.bodies)
	}
	if err != nil {
		return e.fail(w, id, err), err
	}
	defer result.Release()
	h := w.Header()
	e.identify(h, id)
	status = result.Status
	invoke.CopyHeader(h, result.Header, e.cors != nil)
	if status == http.StatusNoContent || status == http.StatusNotModified {
		w.WriteHeader(status)
		return status, nil
	}
	h["Content-Length"] = []string{strconv.Itoa(len(result.Body))}
	w.WriteHeader(status)
	if _, err := w.Write(result.Body); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		return status, nil //nolint:nilerror // the client went away; the function did its part
	}
	return status, nil
}

// identify says which call, version and node answered.
func (e *Endpoint) identify(h http.Header, id string) {
	h["X-Call-Id"] = []string{id}
	h["X-Picloud-Version"] = e.versionValue
	h["X-Picloud-Node"] = e.gateway.nodeValue
}

// fail answers with an error and returns the status that was sent.
func (e *Endpoint) fail(w http.ResponseWriter, id string, err error) int {
	e.identify(w.Header(), id)
	problem.WriteFunction(w, e.function.Redact().Err(err), id) // what is wrong with an answer can quote it
	return picloud.CodeOf(err).Entry().Status
}

// readBody reads the request's body, up to the function's limit; nil: there is
// none. The caller releases it.
func (e *Endpoint) readBody(r *http.Request) (*inbound, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil //nolint:nilnil // no body and no error
	}
	limit := int64(e.function.Limits.RequestBody)
	if r.ContentLength > limit {
		return nil, e.tooLarge()
	}
	in := inbounds.Get().(*inbound)
	err := in.read(r.Body, r.ContentLength, limit, e.bodies)
	if err == nil {
		return in, nil
	}
	in.release(e.bodies)
	switch {
	case errors.Is(err, errBodyTooLarge):
		return nil, e.tooLarge()
	case errors.Is(err, errBodyNoRoom):
		return nil, e.gateway.full(e.function, "there is no room for the request body")
	}
	return nil, &picloud.Error{
		Code: picloud.CodeInvalid, Op: "read request body", Resource: e.function.Resource(), Err: err,
		Hint: "the connection ended, or paused too long, before the whole body had come",
	}
}

func (e *Endpoint) tooLarge() error {
	return &picloud.Error{
		Code: picloud.CodeRequestTooLarge, Op: "call function", Resource: e.function.Resource(),
		Detail: "the request body is over the limit of " + e.function.Limits.RequestBody.String(),
		Hint:   "send less, or raise the function's request_body limit",
	}
}

// withoutSession returns the headers without the dashboard's cookie. It copies
// only when there is one to remove.
func withoutSession(h http.Header) http.Header {
	cookies := h["Cookie"]
	if !slices.ContainsFunc(cookies, func(c string) bool { return strings.Contains(c, invoke.SessionCookie) }) {
		return h
	}
	h = h.Clone()
	var kept []string
	for _, line := range cookies {
		for part := range strings.SplitSeq(line, ";") {
			part = strings.TrimSpace(part)
			if name, _, _ := strings.Cut(part, "="); part != "" && name != invoke.SessionCookie {
				kept = append(kept, part)
			}
		}
	}
	delete(h, "Cookie")
	if len(kept) > 0 {
		h["Cookie"] = []string{strings.Join(kept, "; ")}
	}
	return h
}
