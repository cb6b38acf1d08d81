// Package join is the exchange by which a new node becomes a member of a cluster.
//
// The node dials any member and verifies, before it says anything, that the member's
// certificate comes from the CA that the token pins. On the same connection it then sends
// one Request and gets one Answer. Each is a length of four bytes, big endian, and JSON of
// at most 64 KiB. The node's private key never leaves it: the request holds a certificate
// signing request.
package join
