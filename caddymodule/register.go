// Package caddymodule puts a PiCloud node behind Caddy: the app that holds the
// node's runtime, the handler that serves functions, the handler that serves
// the control API, and the commands that need Caddy. With cmd it is the only
// package that imports Caddy.
package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(Handler{})
	caddy.RegisterModule(ManagerHandler{})
	caddy.RegisterModule(voice{})

	caddy.RegisterNetwork(Network, sockets.listen)
	httpcaddyfile.RegisterGlobalOption("picloud", parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("picloud", parseHandler)
	httpcaddyfile.RegisterHandlerDirective("picloud_manager", parseManagerHandler)
	// Functions and the API answer before files do, so that no `route` is needed.
	httpcaddyfile.RegisterDirectiveOrder("picloud", httpcaddyfile.Before, "file_server")
	httpcaddyfile.RegisterDirectiveOrder("picloud_manager", httpcaddyfile.Before, "file_server")
}
