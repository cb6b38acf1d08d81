// Package egress makes the outbound requests of functions. A function reaches only
// what its rules name. The check is made on the address that is dialled: the client
// looks a name up once, checks each of its addresses, and connects to one that
// passed. Public addresses are those that IANA's registries call globally
// reachable. A function reaches other addresses, such as those of a home network,
// only by a rule that names them, and the node's own ports never.
//
// The client checks in this order: the form of the request, the URL's host against
// the rules (before any DNS query), the addresses, and again the address at the
// moment of connecting. A redirect passes the same checks as a new request.
package egress
