package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/problem"
	"github.com/picloud/picloud/internal/urlpath"
	"github.com/picloud/picloud/manager/api/client"
)

// token is what methods and header names are made of (RFC 9110, 5.6.2).
var token = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}$")

// draftCopies is how many times the body of a draft's answer is in memory: as it came,
// as a text or in base64, and as JSON that grows.
const draftCopies = 6

// maxDraftPath bounds path and query of a draft's request, in bytes.
const maxDraftPath = 8 << 10

// testDraft answers POST /apps/{app}/functions/{function}/test.
func (a apps) testDraft(ctx context.Context, p inFunction, body object[client.Draft]) (out answer[client.DraftResult], err error) {
	req, err := draftRequest(ctx, body.value.Request)
	if err != nil {
		return out, err
	}
	d, err := a.manager.Draft(ctx, actor(ctx), p.App, p.Function, []byte(body.value.Source), req, body.value.Net)
	if err != nil {
		return out, err
	}
	result := client.DraftResult{Logs: list(d.Logs), Duration: picloud.Duration(d.Duration), Effects: d.Effects}
	result.Effects.Writes, result.Effects.Requests = list(d.Effects.Writes), list(d.Effects.Requests)
	if d.Failure != nil {
		failure := wireProblem(problem.Of(d.Failure, callOf(ctx).id))
		result.Error = &failure
		return ok(result), nil
	}
	if err := reserve(ctx, draftCopies*int64(len(d.Response.Body))); err != nil {
		return out, err
	}
	text, encoding := string(d.Response.Body), client.EncodingText
	if !utf8.ValidString(text) {
		text, encoding = base64.StdEncoding.EncodeToString(d.Response.Body), client.EncodingBase64
	}
	headers := map[string][]string(d.Response.Header)
	if headers == nil {
		headers = map[string][]string{}
	}
	result.Response = &client.DraftResponse{Status: d.Response.Status, Headers: headers, Body: text, Encoding: encoding}
	return ok(result), nil
}

// draftRequest makes the request that a draft answers, with the defaults of
// the contract: GET / without a body.
func draftRequest(ctx context.Context, d client.DraftRequest) (picloud.Request, error) {
	c := callOf(ctx)
	req := picloud.Request{
		ID: c.id, Method: strings.ToUpper(d.Method), Path: d.Path, Query: d.Query, Header: http.Header{}, Body: []byte(d.Body),
	}
	if from, err := netip.ParseAddrPort(c.remote); err == nil {
		req.ClientIP = from.Addr().Unmap().String()
	}
	if req.Method == "" {
		req.Method = http.MethodGet
	}
	if !strings.HasPrefix(req.Path, "/") {
		req.Path = "/" + req.Path
	}
	if !token.MatchString(req.Method) {
		return req, invalid("request.method", "must be an HTTP method")
	}
	if len(req.Path)+len(req.Query) > maxDraftPath {
		return req, invalid("request.path", "path and query have at most 8192 bytes")
	}
	decoded, err := url.PathUnescape(req.Path)
	if err != nil {
		return req, invalid("request.path", "holds a percent sign without two hexadecimal digits behind it; %25 stands for the sign itself")
	}
	sent := url.URL{Path: decoded, RawPath: req.Path}
	if err := urlpath.Check(sent.EscapedPath()); err != nil {
		return req, err // no request with that path reaches a function
	}
	if req.Path = decoded; sent.EscapedPath() != decoded {
		req.RawPath = sent.EscapedPath()
	}
	for name, value := range d.Headers {
		if !token.MatchString(name) || strings.ContainsAny(value, "\r\n\x00") {
			return req, invalid("request.headers", "holds a name or value that no HTTP header can have")
		}
		req.Header.Set(name, value)
	}
	switch d.Encoding {
	case "", client.EncodingText:
	case client.EncodingBase64:
		body, err := base64.StdEncoding.DecodeString(d.Body)
		if err != nil {
			return req, invalid("request.body", "is not base64")
		}
		req.Body = body
	default:
		return req, invalid("request.encoding", "must be text or base64")
	}
	return req, nil
}

// wireProblem is a problem as a part of an answer.
func wireProblem(p problem.Problem) client.Problem {
	return client.Problem{
		Type: p.Type, Title: p.Title, Status: p.Status, Code: p.Code, Detail: p.Detail, Hint: p.Hint, RequestID: p.RequestID,
		Errors: p.Errors, Line: p.Line, Column: p.Column, Message: p.Message, Excerpt: p.Excerpt,
	}
}
