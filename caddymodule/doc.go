// Package caddymodule puts a PiCloud node behind Caddy: the app that holds the
// node's runtime, the handler that serves functions, the handler that serves
// the control API, and the commands that need Caddy. With cmd it is the only
// package that imports Caddy.
package caddymodule
