package caddymodule

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
)

// Admin adds PiCloud's routes to Caddy's admin API, which is a unix socket that
// only the node's user can open.
type Admin struct{}

// CaddyModule returns the module's registration.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.picloud", New: func() caddy.Module { return new(Admin) }}
}

// reloadPath is the route of `picloud reload`.
const reloadPath = "/picloud/reload"

// Routes returns the routes.
func (Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: reloadPath, Handler: caddy.AdminHandlerFunc(serveReload)}}
}

func serveReload(_ http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("POST reloads")}
	}
	if err := launched.Load().reload(); err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	return nil
}

var _ caddy.AdminRouter = (*Admin)(nil)
