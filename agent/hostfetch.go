package agent

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/internal/egress"
)

// fetch is http.fetch [url, options] → {status, headers, body, url}.
func (h *host) fetch(ctx context.Context, g *grants, call *executor.HostCall) (any, error) {
	a := argumentsOf(call, 2)
	r := egress.Request{URL: a.text(0, "url"), Function: g.inApp(g.function), OnRedirect: call.Outbound}
	if a.options(1, &r); a.err != nil {
		return nil, a.err
	}
	resp, err := h.egress.Fetch(ctx, g.app.App, g.egress, r)
	var known *egress.Error
	switch {
	case errors.As(err, &known):
		h.outbound.WithLabelValues(known.Code).Inc()
		return nil, &executor.HostError{Code: known.Code, Message: known.Message}
	case err != nil: // a redirect too many
		h.outbound.WithLabelValues("outbound_call_limit").Inc()
		return nil, err
	}
	defer resp.Release()
	h.outbound.WithLabelValues("ok").Inc()
	headers := make([]any, 0, len(resp.Header))
	for _, f := range resp.Header {
		headers = append(headers, []any{f.Name, strings.ToValidUTF8(f.Value, "\uFFFD")})
	}
	return map[string]any{"status": int64(resp.Status), "headers": headers, "body": resp.Body, "url": resp.URL}, nil
}

// options reads those of a request.
func (a *arguments) options(i int, r *egress.Request) {
	if a.err != nil || a.call.Args[i] == nil {
		return
	}
	options, ok := a.call.Args[i].(map[string]any)
	if !ok {
		a.wrong("options", "a map")
	}
	for name, v := range options {
		switch name {
		case "method":
			if r.Method, ok = v.(string); !ok {
				a.wrong(name, "a string")
			}
		case "headers":
			r.Header = a.headers(v)
		case "body":
			r.Body = a.body(v)
		case "timeout_ms":
			r.Timeout = time.Duration(a.number(v, name, math.MaxInt32)) * time.Millisecond
		case "redirects":
			if r.Redirects = int(a.number(v, name, egress.MaxRedirects)); r.Redirects == 0 {
				r.Redirects = -1
			}
		case "max_body":
			if r.MaxBody = a.number(v, name, egress.MaxBody); r.MaxBody == 0 {
				a.wrong(name, "at least 1")
			}
		default:
			a.wrong("options", "without "+picloud.Shorten(name, 40)+", which is none")
		}
	}
}

func (a *arguments) number(v any, name string, high int64) int64 {
	inner := arguments{call: &executor.HostCall{Name: a.call.Name, Args: []any{v}}}
	n := inner.integer(0, name, 0, high)
	if a.err == nil {
		a.err = inner.err
	}
	return n
}

func (a *arguments) body(v any) []byte {
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	a.wrong("body", "bytes or a string")
	return nil
}

func (a *arguments) headers(v any) []egress.Field {
	list, ok := v.([]any)
	if !ok && v != nil {
		a.wrong("headers", "a list of pairs")
	}
	out := make([]egress.Field, 0, len(list))
	for _, item := range list {
		pair, _ := item.([]any)
		if len(pair) != 2 {
			a.wrong("headers", "a list of pairs")
			return nil
		}
		name, ok1 := pair[0].(string)
		value, ok2 := pair[1].(string)
		if !ok1 || !ok2 {
			a.wrong("headers", "a list of pairs of strings")
			return nil
		}
		out = append(out, egress.Field{Name: name, Value: value})
	}
	return out
}
