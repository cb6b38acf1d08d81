// Package client speaks to the control API of a PiCloud node. The requests are
// generated from openapi.yaml; New makes a client that signs them, Read decodes
// the answers and turns problems into *picloud.Error, Logs reads the event
// stream of a followed log.
//
//	c, err := client.New("http://127.0.0.1:8081", token)
//	app, err := client.Read[client.App](c.CreateApp(ctx, client.NewApp{Name: "shop"}))
package client

//go:generate go tool -modfile=../../../tools/go.mod oapi-codegen -config client.oapi.yaml ../openapi.yaml

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

// maxAnswer bounds what Read takes, in bytes. The largest answer is a draft's:
// a response body of 64 MiB in base64, and its logs.
const maxAnswer = 96 << 20

// New returns a client of the control API at server, such as
// "http://127.0.0.1:8081", that sends token with every request. An empty token
// sends none.
func New(server, token string, opts ...ClientOption) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "connect to", Resource: picloud.Shorten(server, 200),
			Detail: "the server is not a URL such as http://127.0.0.1:8081",
		}
	}
	sign := func(_ context.Context, r *http.Request) error {
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return nil
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	c := &Client{server: u, doer: &http.Client{}, edit: []RequestEditorFn{sign}}
	for _, o := range opts {
		if err := o(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Read decodes the answer of a request: JSON into T, or the raw text when T is
// string, and nothing of a 204. A problem becomes a *picloud.Error; a server
// that cannot be reached an error with a hint. It closes the body.
//
//	page, err := client.Read[client.AppList](c.ListApps(ctx, nil))
func Read[T any](resp *http.Response, err error) (T, error) {
	var out T
	if err := Check(resp, err); err != nil {
		return out, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return out, fmt.Errorf("read answer of %s %s: %w", resp.Request.Method, resp.Request.URL.Path, err)
	}
	if text, ok := any(&out).(*string); ok {
		*text = string(body)
		return out, nil
	}
	if resp.StatusCode == http.StatusNoContent {
		return out, nil
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, fmt.Errorf("decode answer of %s %s: %w", resp.Request.Method, resp.Request.URL.Path, err)
	}
	return out, nil
}

// Nothing is the T of Read for answers without a body.
type Nothing struct{}

// Check turns a failed request and a problem into an error, and leaves the
// body of any other answer open, for the caller to read and close.
func Check(resp *http.Response, err error) error {
	if err != nil {
		return unreachable(err)
	}
	if resp.StatusCode < 400 {
		return nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return problemOf(resp, body)
}

// unreachable explains why there is no answer.
func unreachable(err error) error {
	var failed *url.Error
	if !errors.As(err, &failed) || errors.Is(err, context.Canceled) {
		return err
	}
	server := failed.URL
	if u, parseErr := url.Parse(server); parseErr == nil {
		server = u.Scheme + "://" + u.Host
	}
	return &picloud.Error{
		Code: picloud.CodeInternal, Op: "reach", Resource: server, Err: failed.Err,
		Hint: "is the node running? start one with: picloud run",
	}
}

// problemOf reads the problem of an answer with an error status.
func problemOf(resp *http.Response, body []byte) error {
	var p Problem
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media != "application/problem+json" || json.Unmarshal(body, &p) != nil || p.Code == "" {
		return &picloud.Error{
			Code: picloud.CodeInternal, Op: "call", Resource: resp.Request.Method + " " + resp.Request.URL.Path,
			Detail: fmt.Sprintf("answered %s, which is not an answer of PiCloud: %s", resp.Status, picloud.Shorten(strings.TrimSpace(string(body)), 200)),
			Hint:   "is the server the control API of a node (port 8081)?",
		}
	}
	e := p.Err()
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// Err returns the problem as the error that it was on the server.
func (p Problem) Err() *picloud.Error {
	e := &picloud.Error{Code: p.Code, Detail: p.Detail, Hint: p.Hint, Fields: p.Errors}
	if e.Detail == "" {
		e.Detail = p.Title
	}
	if p.Line > 0 || p.Message != "" {
		e.Script = &picloud.ScriptError{Line: p.Line, Column: p.Column, Message: p.Message, Excerpt: p.Excerpt}
	}
	return e
}
