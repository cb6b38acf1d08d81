package broker

import (
	"context"
	"errors"

	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/internal/egress"
)

// answerHead is about what the answer of a request takes besides its body, in bytes.
const answerHead = 512

// fieldHead is about what a header field takes besides its texts, in bytes.
const fieldHead = 48

// fetch answers hostcall.Fetch.
func (b *Broker) fetch(ctx context.Context, g *Grants, call *executor.HostCall) ([]byte, error) {
	var ask hostcall.Fetch
	if err := ask.Read(call.Args); err != nil {
		return nil, err
	}
	r := egress.Request{
		URL: ask.URL, Method: ask.Method, Body: ask.Body, Timeout: ask.Timeout, MaxBody: ask.MaxBody,
		Redirects: ask.Redirects.Count, Function: g.inApp(g.function), OnRedirect: call.Outbound,
	}
	if ask.Redirects == (hostcall.Redirects{Given: true}) {
		r.Redirects = -1
	}
	for _, f := range ask.Header {
		r.Header = append(r.Header, egress.Field(f))
	}
	if g.trial != nil {
		if err := g.trial.sends(g.egress, r); err != nil {
			return nil, forScript(err)
		}
	}
	resp, err := b.egress.Fetch(ctx, g.app.App, g.egress, r)
	var known *egress.Error
	switch {
	case errors.As(err, &known):
		b.outbound.WithLabelValues(known.Code).Inc()
		return nil, forScript(known)
	case err != nil: // a redirect over the invocation's limit
		b.outbound.WithLabelValues(hostcall.CodeOutboundLimit).Inc()
		return nil, err
	}
	defer resp.Release()
	size := int64(len(resp.Body)+len(resp.URL)) + answerHead
	for _, f := range resp.Header {
		size += int64(len(f.Name) + len(f.Value) + fieldHead)
	}
	if call.Take(size) != nil {
		b.outbound.WithLabelValues(egress.CodeBusy).Inc()
		return nil, hostcall.Errorf(egress.CodeBusy, "this node has no memory left for the response: other calls fill it")
	}
	b.outbound.WithLabelValues("ok").Inc()
	answer := hostcall.Response{Status: resp.Status, Body: resp.Body, URL: resp.URL, Header: make([]hostcall.Field, len(resp.Header))}
	for i, f := range resp.Header {
		answer.Header[i] = hostcall.Field(f)
	}
	return answer.Append(make([]byte, 0, size)), nil
}

// forScript turns an error of the egress into one for scripts.
func forScript(err error) error {
	if known := (*egress.Error)(nil); errors.As(err, &known) {
		return &hostcall.Error{Code: known.Code, Message: known.Message}
	}
	return err
}
