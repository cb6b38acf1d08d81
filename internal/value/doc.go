// Package value reads and writes the values that scripts exchange with the node
// and keep in the key-value store: null, booleans, 64-bit integers, floats, text,
// bytes, lists, and maps with text keys. They are encoded as CBOR (RFC 8949) with
// definite lengths and without tags.
//
// Values pass through the node as the bytes that came. Cut and Check walk foreign
// bytes once and allocate nothing; an Item gives typed access to what they accepted;
// the Append functions write new values around encoded ones. Nothing here decodes a
// value that only has to be kept or handed on.
//
// The keys of a map ascend: shorter keys come first, keys of one length are in the
// order of their bytes (the core deterministic order of RFC 8949). A reader finds a
// key that occurs twice without memory, by comparing neighbours.
package value
