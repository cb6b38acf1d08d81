// Command stockcaddy is Caddy as it comes, built with the same compiler, flags
// and version as ours: the yardstick of the benchmark.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() { caddycmd.Main() }
