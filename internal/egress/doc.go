// Package egress makes the outbound requests of functions. Nothing is reachable
// but what a function's rules name, and what counts is the address that is
// dialled: a name is looked up once, each address that it has is checked, and
// the connection goes to an address that passed. Public addresses are those
// that IANA's registries call globally reachable; all others, and the node's
// own ports most of all, are what a function at home must not find by itself.
//
// The order of checks: the form of the request, the URL's host against the
// rules (before any DNS query), the addresses, and again the address at the
// moment of connecting. A redirect is a request of its own and passes the same.
package egress
