package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(Handler{})
	caddy.RegisterModule(ManagerHandler{})
	caddy.RegisterModule(Admin{})

	caddy.RegisterNetwork(Network, sockets.listen)
	httpcaddyfile.RegisterGlobalOption("picloud", parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("picloud", parseHandler)
	httpcaddyfile.RegisterHandlerDirective("picloud_manager", parseManagerHandler)
	// Functions and the API answer before files do, so that no `route` is needed.
	httpcaddyfile.RegisterDirectiveOrder("picloud", httpcaddyfile.Before, "file_server")
	httpcaddyfile.RegisterDirectiveOrder("picloud_manager", httpcaddyfile.Before, "file_server")
}
