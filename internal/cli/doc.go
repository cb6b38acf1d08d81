// Package cli holds the commands of picloud that speak to a node's control API.
// It knows the root package and the generated client, and nothing of Caddy, the
// manager or the database; commands that run a node are added to its root by
// cmd/picloud.
//
// The commands stand in packages by the groups of the help: function, config,
// people, node and account. They share command (a call to the node), target (which
// node, and as whom), setting (flags for settings), output and failure.
//
// Every command prints what it did on standard output, as a table or, with
// -o json and -o yaml, for programs; progress, warnings and errors go to
// standard error, with -o json as lines of JSON too. Errors say what was tried, on
// what, and what to do next.
package cli
