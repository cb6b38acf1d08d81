package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// UnmarshalCaddyfile reads the global option. Each setting is an option of its
// block:
//
//	picloud {
//		http_port 80
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	a.texts = texts{}
	for d.NextBlock(0) {
		setting, err := settingNamed(d.Val())
		if err != nil {
			return d.Err(err.Error())
		}
		if a.texts[setting.Name] != "" {
			return d.Errf("%s is set twice", setting.Name)
		}
		args := d.RemainingArgs()
		switch len(args) {
		case 0: // an unset environment variable: the default
		case 1:
			a.texts[setting.Name] = args[0]
		default:
			return d.ArgErr()
		}
	}
	return nil
}

func parseGlobalOption(d *caddyfile.Dispenser, _ any) (any, error) {
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "picloud", Value: caddyconfig.JSON(app, nil)}, nil
}

func parseHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	return new(Handler), noArguments(h)
}

func parseManagerHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	return new(ManagerHandler), noArguments(h)
}

// noArguments accepts a directive that stands alone.
func noArguments(h httpcaddyfile.Helper) error {
	h.Next() // the directive's name
	if h.NextArg() {
		return h.ArgErr()
	}
	if h.NextBlock(0) {
		return h.Errf("unknown option %q; %s takes none here: the node is set up in the global picloud block", h.Val(), "this directive")
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*App)(nil)
