package invoke

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/trigger"
)

// Draft runs a script that is not a version yet, once, in a throw-away executor. The
// script has what the function f may have and the grants, for at most the given time.
// The log records are valid together with an error too.
func (i *Invoker) Draft(ctx context.Context, f picloud.Function, source []byte, app picloud.AppConfig, node picloud.Limits, grants any, most time.Duration, req picloud.Request) (picloud.Response, []picloud.LogRecord, error) {
	if req.ID == "" {
		req.ID = i.ids.id()
	}
	client, _, err := net.SplitHostPort(req.ClientIP)
	if err != nil {
		client = req.ClientIP
	}
	p := i.program(f.Name, f.Settings, source, app, node)
	p.Grants = grants
	p.Limits.Timeout = min(p.Limits.Timeout, picloud.Duration(most))
	result, records, err := i.executor.Draft(ctx, p, &executor.Call{
		ID: req.ID, Trigger: trigger.Draft, Method: req.Method, Path: req.Path, RawQuery: req.Query,
		Header: req.Header, Body: req.Body, ClientIP: client,
	})
	hidden := i.opts.Secrets.Of(f.App)
	for n := range records {
		hidden.Record(&records[n])
	}
	if err != nil {
		return picloud.Response{}, records, hidden.Err(err)
	}
	defer result.Release()
	resp := picloud.Response{Status: result.Status, Header: http.Header{}, Body: append([]byte(nil), result.Body...)}
	CopyHeader(resp.Header, result.Header, false)
	return resp, records, nil
}
