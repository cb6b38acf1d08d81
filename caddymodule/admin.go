package caddymodule

import (
	"errors"
	"net/http"
	"sync"

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

// source is where the running configuration came from. The process itself reads
// it again, since its placeholders stand for the process's own environment.
var source struct {
	mu   sync.Mutex // one reload at a time
	read func() ([]byte, error)
}

// setSource remembers how to read the configuration again.
func setSource(read func() ([]byte, error)) {
	source.mu.Lock()
	defer source.mu.Unlock()
	source.read = read
}

// reload reads the configuration again and applies it. An error means that the
// present one goes on.
func reload() error {
	source.mu.Lock()
	defer source.mu.Unlock()
	if source.read == nil {
		return errors.New("reload: this process was not started by `picloud run`")
	}
	adapted, err := source.read()
	if err != nil {
		return err
	}
	return caddy.Load(adapted, true)
}

func serveReload(_ http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("POST reloads")}
	}
	if err := reload(); err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	return nil
}

var _ caddy.AdminRouter = (*Admin)(nil)
