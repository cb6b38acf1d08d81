package gateway

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/invoke"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/trigger"
	"github.com/picloud/picloud/internal/problem"
)

// Endpoint serves one version of one function over HTTP. It is immutable; a
// deploy makes another one.
type Endpoint struct {
	gateway      *Gateway
	function     *invoke.Function
	methods      []string // empty: all
	router       *router  // nil: every path
	cors         *cors
	transit      transit  // the app's memory for bodies
	versionValue []string // a header value, shared by all answers
}

// NewEndpoint returns the endpoint of a function.
func (g *Gateway) NewEndpoint(f *invoke.Function) *Endpoint {
	s := &f.Route.Settings
	return &Endpoint{
		gateway: g, function: f, methods: inOrder(s.Methods), router: newRouter(s.Routes), cors: newCORS(s.CORS),
		transit:      g.newTransit(f.Route.App),
		versionValue: []string{"v" + strconv.Itoa(f.Route.Version)},
	}
}

// Function returns what the endpoint calls.
func (e *Endpoint) Function() *invoke.Function { return e.function }

// serve answers one request.
func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request, at *place, clientIP string) {
	var route string
	var params executor.Pairs
	takes := len(e.methods) == 0 || slices.Contains(e.methods, r.Method)
	if e.router != nil {
		var fits bool
		route, params, fits = e.router.route(r.Method, at.raw)
		takes = takes && fits
	}
	if e.cors != nil && e.cors.admit(w, r) {
		taken := e.taken(at.raw)
		if len(taken) == 0 {
			taken = picloud.Methods() // the call itself gets the 404, which the page can read then
		}
		e.cors.preflight(w, r, taken)
		return
	}
	switch {
	case !takes:
		e.refuse(w, r, at)
		return
	case at.bare && wantsPage(r):
		w.Header().Add("Vary", "Accept")
		redirect(w, r, at.base+"/")
		return
	}
	call := e.function.Begin()
	status, err := e.call(w, r, &executor.Call{
		ID: call.ID, Method: r.Method, Path: at.path, RawPath: at.rawPath, Base: at.base, Route: route, Params: params,
		RawQuery: r.URL.RawQuery, Header: withoutSession(r.Header), Host: r.Host, ClientIP: clientIP,
	})
	call.End(trigger.HTTP, r.Method, at.raw, status, err)
	if err == nil {
		return
	}
	switch picloud.CodeOf(err) {
	case picloud.CodeRequestTooLarge, picloud.CodeOverload, picloud.CodeStale:
		problem.Linger(w, r) // not the function's time
	}
}

// taken lists the methods that the function takes at a path, which is as it was sent;
// none: its routes do not have the path.
func (e *Endpoint) taken(path string) []string {
	methods := e.methods
	if len(methods) == 0 {
		methods = picloud.Methods()
	}
	if e.router == nil {
		return methods
	}
	routed, all := e.router.methods(path)
	if all {
		return methods
	}
	return slices.DeleteFunc(routed, func(m string) bool { return !slices.Contains(methods, m) })
}

// refuse answers a request that the function's methods or routes do not take: no code
// runs for it.
func (e *Endpoint) refuse(w http.ResponseWriter, r *http.Request, at *place) {
	defer problem.Unread(w, r)()
	methods := e.taken(at.raw)
	if len(methods) == 0 {
		if deeper := at.raw + "/"; at.ours && !strings.HasSuffix(at.raw, "/") {
			if _, _, fits := e.router.route(r.Method, deeper); fits {
				redirect(w, r, at.base+deeper)
				return
			}
		}
		e.fail(w, e.function.NewID(), &picloud.Error{
			Code: picloud.CodeNoRoute, Op: "call function", Resource: e.function.Resource(),
			Detail: "its routes do not have the path " + picloud.Shorten(at.raw, 200), Hint: "`picloud function show` prints the routes",
		})
		return
	}
	taken := strings.Join(methods, ", ")
	if !slices.Contains(methods, http.MethodOptions) {
		taken += ", " + http.MethodOptions // answered here
	}
	w.Header().Set("Allow", taken)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	e.fail(w, e.function.NewID(), &picloud.Error{
		Code: picloud.CodeFunctionMethod, Op: "call function", Resource: e.function.Resource(),
		Detail: "it takes " + taken + " here, not " + picloud.Shorten(r.Method, 20),
	})
}

// call runs the function and writes its answer, or the error that took its
// place. It returns the status that was sent and that error.
func (e *Endpoint) call(w http.ResponseWriter, r *http.Request, call *executor.Call) (status int, err error) {
	stale, err := e.function.Staleness()
	if stale != nil {
		w.Header()["X-Picloud-Stale"] = []string{strconv.FormatInt(int64(stale.Age()/time.Second), 10)}
	}
	if err != nil {
		if r.ContentLength != 0 {
			problem.Last(w, r)
		}
		return e.fail(w, call.ID, err), err
	}
	body, err := e.readBody(r)
	if err != nil {
		problem.Last(w, r) // what is left of the body does not have to come
		return e.fail(w, call.ID, err), err
	}
	if body != nil {
		call.Body = body.body
	}
	result, err := e.function.Invoke(r.Context(), call)
	if body != nil {
		body.release(&e.transit)
	}
	if err != nil {
		return e.fail(w, call.ID, err), err
	}
	defer result.Release()
	h := w.Header()
	e.identify(h, call.ID)
	status = result.Status
	length := invoke.CopyHeader(h, result.Header, e.cors != nil)
	if status == http.StatusNoContent || status == http.StatusNotModified {
		w.WriteHeader(status)
		return status, nil
	}
	head := r.Method == http.MethodHead
	switch {
	case !head || len(result.Body) > 0:
		h["Content-Length"] = []string{strconv.Itoa(len(result.Body))}
	case length != "":
		h["Content-Length"] = []string{length} // that of the answer to GET, as the function says
	}
	w.WriteHeader(status)
	if head {
		return status, nil
	}
	if _, err := w.Write(result.Body); err != nil {
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
	err := in.read(r.Context().Done(), r.Body, r.ContentLength, limit, &e.transit)
	if err == nil {
		return in, nil
	}
	in.release(&e.transit)
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
