// Package local joins the commands of a machine to the node that runs on a data
// folder: a unix socket in that folder, which only the node's user and root can open.
// `picloud status`, `stop`, `reload`, `user token --local`, `cluster recover` and `cluster adopt` speak to it. Both sides
// of the contract are here. It does not depend on what a Caddyfile says about Caddy's
// admin API.
//
// A command names the folder, or has found it and checked whose it is (datadir.Owners).
// The package then believes the socket and the lock only if they belong to the owner of
// the folder, to this user, or to root.
package local
