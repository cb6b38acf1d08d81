// Package managed runs a PostgreSQL server for the node: the machine's own
// binaries, data under the node's data folder, a unix socket and nothing else.
//
// The server is a child that outlives a killed agent: the next Start adopts
// it. It runs under an account without privileges when the agent is root, and
// knows the agent by its peer credentials, without a password.
package managed
