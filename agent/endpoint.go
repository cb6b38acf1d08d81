package agent

import (
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/internal/problem"
)

// SessionCookie is the dashboard's cookie. Functions never see it and cannot
// set it, so that a function can never act as the dashboard.
const SessionCookie = "picloud_session"

// endpoint serves one version of one function. It is immutable; a deploy makes
// a new one.
type endpoint struct {
	route    picloud.Route
	app      picloud.AppConfig
	node     picloud.Limits // of the node
	function *executor.Function
	limits   picloud.Limits // the function's, its app's, the node's and the built-in ones
	methods  []string       // empty: all
	cors     *cors
	gauge    *gauge
	ring     *ring
	logs     *logs
	transit  *transit
	trouble  *trouble
	ids      *callIDs
	hidden   *redactions
	nodeName string

	versionValue []string // header values, shared by all answers
	nodeValue    []string
}

// serves reports whether the endpoint is as one that was made of these would be.
func (e *endpoint) serves(r picloud.Route, app picloud.AppConfig, node picloud.Limits) bool {
	return e.node == node && reflect.DeepEqual(e.route, r) && reflect.DeepEqual(e.app, app)
}

// serve answers one request. rest is the path below the function.
func (e *endpoint) serve(w http.ResponseWriter, r *http.Request, rest, clientIP string) {
	if e.cors != nil && e.cors.apply(w, r) {
		return
	}
	if len(e.methods) > 0 && !slices.Contains(e.methods, r.Method) {
		w.Header().Set("Allow", strings.Join(e.methods, ", "))
		e.fail(w, e.ids.id(), &picloud.Error{
			Code: picloud.CodeFunctionMethod, Op: "call function", Resource: e.resource(),
			Detail: "it takes " + strings.Join(e.methods, ", ") + ", not " + picloud.Shorten(r.Method, 20),
		})
		return
	}
	start := time.Now()
	id := e.ids.id()
	e.gauge.inFlight.Inc()
	status, err := e.call(w, r, id, rest, clientIP)
	e.gauge.inFlight.Dec()
	took := time.Since(start)
	e.gauge.observe(status, took)
	record := picloud.Invocation{
		ID: id, App: e.route.App, Function: e.route.Function, Version: e.route.Version,
		Trigger: picloud.TriggerHTTP, Method: r.Method, Path: rest,
		Status: status, Started: start, Duration: picloud.Duration(took), Node: e.nodeName,
	}
	hidden := e.hidden.of(e.route.App)
	record.Path = hidden.text(record.Path)
	if err != nil {
		record.Code, record.Error = picloud.CodeOf(err), hidden.text(err.Error())
		e.logFailure(&record)
	}
	e.ring.add(record)
	switch record.Code {
	case picloud.CodeRequestTooLarge, picloud.CodeOverload:
		problem.Linger(w, r) // not the function's time
	}
}

// logFailure tells the function's log what ended the call from outside: limits
// and crashes. What the script itself did wrong its executor has logged, with
// line and trace. What the node did wrong is for the node's log.
func (e *endpoint) logFailure(inv *picloud.Invocation) {
	switch inv.Code {
	case picloud.CodeFunctionTimeout, picloud.CodeFunctionMemory, picloud.CodeFunctionCrash, picloud.CodeResponseTooLarge:
		e.logs.Log(inv.App, picloud.LogRecord{
			Time: time.Now().UTC(), Level: "error", Message: inv.Error, Fields: map[string]any{"code": inv.Code, "status": inv.Status},
			Function: inv.Function, Version: inv.Version, Invocation: inv.ID,
		})
	case picloud.CodeInternal, picloud.CodeExecutor, picloud.CodeNoMemory, picloud.CodeOverload:
		e.trouble.note(inv)
	}
}

// call runs the function and writes its answer, or the error that took its
// place. It returns the status that was sent and that error.
func (e *endpoint) call(w http.ResponseWriter, r *http.Request, id, rest, clientIP string) (status int, err error) {
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
		body.release(e.transit)
	}
	if err != nil {
		return e.fail(w, id, err), err
	}
	defer result.Release()
	if size := int64(cap(result.Body)); size > smallBody {
		if !e.transit.take(size) {
			err := e.transit.full(e.resource(), "the function ran, but there is no room for its answer of "+picloud.Size(len(result.Body)).String())
			return e.fail(w, id, err), err
		}
		defer e.transit.give(size)
	}
	h := w.Header()
	e.identify(h, id)
	status = result.Status
	setHeaders(h, result.Header, e.cors != nil)
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
func (e *endpoint) identify(h http.Header, id string) {
	h["X-Call-Id"] = []string{id}
	h["X-Picloud-Version"] = e.versionValue
	h["X-Picloud-Node"] = e.nodeValue
}

// fail answers with an error and returns the status that was sent.
func (e *endpoint) fail(w http.ResponseWriter, id string, err error) int {
	e.identify(w.Header(), id)
	problem.WriteFunction(w, e.hidden.of(e.route.App).fail(err), id) // what is wrong with an answer can quote it
	return picloud.CodeOf(err).Entry().Status
}

// readBody reads the request's body, up to the function's limit; nil: there is
// none. The caller releases it.
func (e *endpoint) readBody(r *http.Request) (*inbound, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil //nolint:nilnil // no body and no error
	}
	limit := int64(e.limits.RequestBody)
	if r.ContentLength > limit {
		return nil, e.tooLarge()
	}
	in := inbounds.Get().(*inbound)
	err := in.read(r.Body, r.ContentLength, limit, e.transit)
	if err == nil {
		return in, nil
	}
	in.release(e.transit)
	switch {
	case errors.Is(err, errBodyTooLarge):
		return nil, e.tooLarge()
	case errors.Is(err, errBodyNoRoom):
		return nil, e.transit.full(e.resource(), "there is no room for the request body")
	}
	return nil, &picloud.Error{
		Code: picloud.CodeInvalid, Op: "read request body", Resource: e.resource(), Err: err,
		Hint: "the connection ended, or paused too long, before the whole body had come",
	}
}

func (e *endpoint) resource() string { return e.route.App + "/" + e.route.Function }

func (e *endpoint) tooLarge() error {
	return &picloud.Error{
		Code: picloud.CodeRequestTooLarge, Op: "call function", Resource: e.resource(),
		Detail: "the request body is over the limit of " + e.limits.RequestBody.String(),
		Hint:   "send less, or raise the function's request_body limit",
	}
}

// withoutSession returns the headers without the dashboard's cookie. It copies
// only when there is one to remove.
func withoutSession(h http.Header) http.Header {
	cookies := h["Cookie"]
	if !slices.ContainsFunc(cookies, func(c string) bool { return strings.Contains(c, SessionCookie) }) {
		return h
	}
	h = h.Clone()
	var kept []string
	for _, line := range cookies {
		for part := range strings.SplitSeq(line, ";") {
			part = strings.TrimSpace(part)
			if name, _, _ := strings.Cut(part, "="); part != "" && name != SessionCookie {
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

// setHeaders copies what the function answered, but for what belongs to the
// connection, to the platform, or to the dashboard.
func setHeaders(h http.Header, pairs []executor.HeaderField, corsDecides bool) {
	for _, p := range pairs {
		name := http.CanonicalHeaderKey(p.Name)
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer",
			"Transfer-Encoding", "Upgrade", "Content-Length", "Date", "X-Call-Id", "X-Picloud-Version",
			"X-Picloud-Node", "X-Picloud-Error", "X-Picloud-Leader":
			continue
		case "Set-Cookie":
			if cookie, _, _ := strings.Cut(p.Value, "="); strings.TrimSpace(cookie) == SessionCookie {
				continue
			}
			h[name] = append(h[name], p.Value)
		case "Server":
			h[name] = []string{p.Value}
		default:
			if corsDecides && strings.HasPrefix(name, "Access-Control-") {
				continue // the function's settings decide, not its code
			}
			h[name] = append(h[name], p.Value)
		}
	}
}
