// Package local joins the commands of a machine to the node that runs on a data
// folder: a unix socket in that folder, which only the node's user can open.
// `picloud status`, `stop` and `reload` speak to it. It does not depend on what a
// Caddyfile says about Caddy's admin API.
package local
