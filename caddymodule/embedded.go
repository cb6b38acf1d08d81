package caddymodule

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"text/template"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddypki"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/picloud/picloud/internal/datadir"
)

// gracePeriod is how long requests may take to end when their server stops.
// Without one Caddy waits for ever.
const gracePeriod = 10 * time.Second

// quietLoggers are those of Caddy that tell of each start what is meant to be so. The one
// of the admin API warns of an open interface, which its socket is not.
var quietLoggers = []string{"admin", "http.auto_https"}

// config makes the embedded configuration as Caddy's JSON. A setting is never
// text that somebody parses again, so every value arrives as it is.
// default.Caddyfile says the same for owners; a test compares the two.
func (h home) config() ([]byte, error) {
	s, err := h.texts.read()
	if err != nil {
		return nil, err
	}
	var warnings []caddyconfig.Warning
	object := func(v any) json.RawMessage { return caddyconfig.JSON(v, &warnings) }
	module := func(v any, key, name string) json.RawMessage {
		return caddyconfig.JSONModuleObject(v, key, name, &warnings)
	}
	no := false
	config := caddy.Config{
		Admin: &caddy.AdminConfig{Listen: escape(h.adminAddress()), Config: &caddy.ConfigSettings{Persist: &no}},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {
			BaseLog: caddy.BaseLog{Level: h.texts["log_level"], EncoderRaw: module(voice{}, "format", voiceName)},
			Exclude: quietLoggers,
		}}},
		StorageRaw: module(filestorage.FileStorage{Root: h.storage()}, "module", "file_system"),
		AppsRaw: caddy.ModuleMap{
			"picloud": object(App{texts: h.texts}),
			"http":    object(h.httpApp(s, module)),
			"tls": object(caddytls.TLS{Automation: &caddytls.AutomationConfig{Policies: []*caddytls.AutomationPolicy{{
				SubjectsRaw: h.hosts(), IssuersRaw: []json.RawMessage{module(caddytls.InternalIssuer{}, "module", "internal")},
			}}}}),
			"pki": object(caddypki.PKI{CAs: map[string]*caddypki.CA{caddypki.DefaultCAID: {InstallTrust: &no}}}),
		},
	}
	made, err := json.Marshal(config)
	if err == nil && len(warnings) > 0 {
		err = fmt.Errorf("%v", warnings)
	}
	if err != nil {
		return nil, fmt.Errorf("make configuration: %w", err)
	}
	return made, nil
}

// localName is the name of each node on its own machine.
const localName = "localhost"

// hosts are the names that the node has certificates for.
func (h home) hosts() []string { return []string{localName, h.NodeName + ".local"} }

// httpApp has three listeners of the network "picloud", which keeps its sockets
// through reloads. The two over plain HTTP match every host, so that no subroute
// stands before the handler. The one over HTTPS answers under every name too. To a
// client that names none, as one that was given an IP address, and to one that names
// something else it shows the certificate of localhost.
func (h home) httpApp(s settings, module func(v any, key, name string) json.RawMessage) caddyhttp.App {
	server := func(host string, port int, routes caddyhttp.RouteList, protocols ...string) *caddyhttp.Server {
		return &caddyhttp.Server{
			Listen:    []string{escape(caddy.JoinNetworkAddress(Network, host, strconv.Itoa(port)))},
			Routes:    routes,
			AutoHTTPS: &caddyhttp.AutoHTTPSConfig{DisableRedir: true},
			Protocols: protocols,
		}
	}
	handle := func(handler json.RawMessage) caddyhttp.Route {
		return caddyhttp.Route{HandlersRaw: []json.RawMessage{handler}}
	}
	functions := handle(module(Handler{}, "handler", "picloud"))
	named := handle(module(caddyhttp.Subroute{Routes: caddyhttp.RouteList{functions}}, "handler", "subroute"))
	named.Terminal = true
	others := named
	named.MatcherSetsRaw = caddyhttp.RawMatcherSets{{"host": caddyconfig.JSON(caddyhttp.MatchHost(h.hosts()), nil)}}
	secure := server(s.Bind, s.HTTPSPort, caddyhttp.RouteList{named, others}, "h1", "h2")
	secure.TLSConnPolicies = caddytls.ConnectionPolicies{
		{MatchersRaw: caddy.ModuleMap{"sni": caddyconfig.JSON(append([]string{""}, h.hosts()...), nil)}, DefaultSNI: localName},
		{DefaultSNI: localName, FallbackSNI: localName},
	}
	return caddyhttp.App{
		HTTPPort: s.HTTPPort, HTTPSPort: s.HTTPSPort, GracePeriod: caddy.Duration(gracePeriod),
		Servers: map[string]*caddyhttp.Server{
			// The control API is plain HTTP, so on loopback only.
			"srv0": server(adminHost, s.AdminPort, caddyhttp.RouteList{handle(module(ManagerHandler{}, "handler", "picloud_manager"))}, "h1"),
			"srv1": server(s.Bind, s.HTTPPort, caddyhttp.RouteList{functions}, "h1"),
			"srv2": secure,
		},
	}
}

//go:embed default.Caddyfile
var caddyfileTemplate string

// DefaultCaddyfile is the embedded configuration as a Caddyfile, for owners who
// want to make it theirs. Its variables are the node's settings.
func DefaultCaddyfile() ([]byte, error) {
	t, err := template.New("default.Caddyfile").Funcs(template.FuncMap{"setting": settingNamed}).Parse(caddyfileTemplate)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"Settings": table, "DataDir": datadir.Service, "GracePeriod": gracePeriod, "AdminHost": adminHost, "Network": Network, "AdminSocket": adminSocketEnv, "Voice": voiceName,
	})
	return out.Bytes(), err
}
