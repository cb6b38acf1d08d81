package caddymodule

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/stretchr/testify/require"
)

// rulesDoc is the end of docs/config.md: functions behind rules and proxies.
const rulesDoc = `
## Rules in front of functions

In a Caddyfile with sites of your own, ` + "`picloud`" + ` serves functions behind whatever Caddy has: ` + "`basic_auth`, `forward_auth`, `handle`, `handle_path`, `rewrite`" + `,
matchers by path. Rules and PiCloud read a path in one way: what could be read in two is refused with 400 ` + "`PC1216`" + ` ([functions.md](functions.md#the-path)),
so a rule about a function's path holds for every way to write it. That goes for nginx and other proxies in front too.

` + "```caddyfile" + `
{
	picloud {
		node_name pi-2
	}
	servers {
		# Only with another proxy in front: whose X-Forwarded-For and X-Forwarded-Prefix to believe.
		trusted_proxies static 192.168.1.2/32
	}
}

https://shop.example.org {
	# One function asks for a password; Caddy's rules by path also hold for what is below.
	basic_auth /fn/default/admin* {
		ada $2a$14$Q9uI4k0LpQWpyrgVYoBvOeqHs6vDR0ysvcDSy2pyUUbSg0gvyhaYi
	}

	# Another one has a path of its own: its req.base is /api.
	handle_path /api/* {
		rewrite * /fn/default/orders{uri}
		picloud
	}
	handle {
		picloud
	}
}
` + "```" + `

All functions of a host are one origin for browsers ([security.md](security.md#what-is-not-protected)). With sites like these each app has a host of its own, and
nothing but its functions:

` + "```caddyfile" + `
https://shop.example.org {
	handle /fn/shop/* {
		picloud
	}
}

https://blog.example.org {
	header Strict-Transport-Security max-age=31536000
	handle /fn/blog/* {
		picloud
	}
}
` + "```" + `

A proxy in front passes the path on as it came (nginx: ` + "`proxy_pass http://192.168.1.3:8080;`" + ` without a path of its own). One that takes a part off its front says so in
` + "`X-Forwarded-Prefix`" + `: for requests of ` + "`trusted_proxies`" + ` that part comes before ` + "`req.base`" + `. The address of the client comes from ` + "`X-Forwarded-For`" + ` under the same condition.

Rules by path do not tell keys of the key-value store apart in the control API: in ` + "`/api/v1/apps/{app}/kv/{key}`" + ` the key is everything that follows, dots and slashes too.
`

// TestTheRulesInTheDocumentLoad: what it shows can be copied.
func TestTheRulesInTheDocumentLoad(t *testing.T) {
	_, text, _ := strings.Cut(rulesDoc, "```caddyfile\n")
	text, rest, _ := strings.Cut(text, "```")
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	require.NoError(t, err)
	require.Empty(t, warnings, "it is formatted")
	require.Contains(t, string(config), `"uri":"/fn/default/orders{http.request.uri}"`)

	_, hosts, _ := strings.Cut(rest, "```caddyfile\n")
	hosts, _, _ = strings.Cut(hosts, "```")
	config, warnings, err = caddyconfig.GetAdapter("caddyfile").Adapt([]byte(hosts), nil)
	require.NoError(t, err)
	require.Empty(t, warnings, "it is formatted")
	require.Contains(t, string(config), `"path":["/fn/shop/*"]`)
}
