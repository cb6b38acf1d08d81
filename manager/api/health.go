package api

import (
	"context"
	_ "embed"
	"errors"
	"net/http"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// contract is openapi.yaml as JSON.
//
//go:embed openapi.gen.json
var contract []byte

// getHealth answers GET /healthz: the process is alive.
func (a nodes) getHealth(context.Context, none, none) (out answer[client.Status], err error) {
	return ok(client.Status{Status: "alive"}), nil
}

// getReadiness answers GET /readyz. Everybody may ask, so the reason is the
// code's own title and hides what the node knows beyond it.
func (a nodes) getReadiness(context.Context, none, none) (out answer[client.Status], err error) {
	err = a.ready()
	if err == nil {
		return ok(client.Status{Status: "ready"}), nil
	}
	reason := &picloud.Error{Code: picloud.CodeStarting}
	var e *picloud.Error
	if errors.As(err, &e) && e.Code.Entry().Kind == picloud.ErrUnavailable {
		reason.Code, reason.RetryAfter = e.Code, e.RetryAfter
	}
	return out, reason
}

// getOpenAPI answers GET /openapi.json.
func (a nodes) getOpenAPI(context.Context, none, none) (out answer[document], err error) {
	return ok(document(contract)), nil
}

// document is JSON that is written as it is.
type document []byte

// send writes the document.
func (d document) send(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(d)
	return err
}
