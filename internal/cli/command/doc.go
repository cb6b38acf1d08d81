// Package command is what the commands of picloud are made of: the global flags,
// the connection to a node, one call with a deadline and an explained error,
// lists in pages, removals, completion, and checks of arguments.
package command
