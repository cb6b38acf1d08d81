package api

import (
	"context"
	_ "embed"
	"errors"
	"net/http"

	"github.com/picloud/picloud"
)

// contract is openapi.yaml as JSON.
//
//go:embed openapi.gen.json
var contract []byte

// GetHealth answers GET /healthz: the process is alive.
func (s *server) GetHealth(context.Context, GetHealthRequestObject) (GetHealthResponseObject, error) {
	return GetHealth200JSONResponse{Status: "alive"}, nil
}

// GetReadiness answers GET /readyz. Everybody may ask, so the reason is the
// code's own title and hides what the node knows beyond it.
func (s *server) GetReadiness(context.Context, GetReadinessRequestObject) (GetReadinessResponseObject, error) {
	err := s.o.Ready()
	if err == nil {
		return GetReadiness200JSONResponse{Status: "ready"}, nil
	}
	reason := &picloud.Error{Code: picloud.CodeStarting}
	var e *picloud.Error
	if errors.As(err, &e) && e.Code.Entry().Kind == picloud.ErrUnavailable {
		reason.Code, reason.RetryAfter = e.Code, e.RetryAfter
	}
	return nil, reason
}

// GetOpenAPI answers GET /openapi.json.
func (s *server) GetOpenAPI(context.Context, GetOpenAPIRequestObject) (GetOpenAPIResponseObject, error) {
	return document(contract), nil
}

// document is JSON that is written as it is.
type document []byte

// VisitGetOpenAPIResponse writes the document.
func (d document) VisitGetOpenAPIResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(d)
	return err
}
