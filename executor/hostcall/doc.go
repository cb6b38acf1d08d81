// Package hostcall is the contract of host calls: what a script may ask of its node.
// The worker writes the arguments, the broker reads them; both take names, argument
// order, bounds and codes from this page.
//
// A host call has a name, such as "kv.get", and arguments: a list in the encoding of
// internal/value. Its answer is one value of that encoding, or an Error. Each call is
// a struct with the arguments as fields: Append writes them, Read reads them back and
// checks them.
package hostcall

import "time"

// The names of the host calls.
const (
	SecretsGet = "secrets.get"
	KVGet      = "kv.get"
	KVSet      = "kv.set"
	KVCAS      = "kv.cas"
	KVIncr     = "kv.incr"
	KVDelete   = "kv.delete"
	KVList     = "kv.list"
	HTTPFetch  = "http.fetch"
)

// OutboundPrefix begins the names of the host calls that count as outbound calls.
const OutboundPrefix = "http."

// KVPrefix begins the names of the host calls of the key-value store.
const KVPrefix = "kv."

// The bounds of host calls. Those of keys and values are the domain's, and those of
// http.fetch are internal/egress's; a test of the broker holds them equal. They stand
// here because the worker must not link the domain, which links net/http.
const (
	MaxKey       = 512       // of a key, in bytes
	MaxValue     = 256 << 10 // of an encoded value of a key, in bytes
	MaxDepth     = 24        // of lists and maps within each other, in a value of a key
	MaxTTL       = 10 * 365 * 24 * time.Hour
	MaxArguments = 16 << 20 // of the encoded arguments, in bytes
	MaxAnswer    = 16 << 20 // of the encoded answer, in bytes
	MaxListed    = 1000     // entries of one page of kv.list; the least is 1
	MaxRedirects = 20       // that http.fetch follows
	MaxBody      = 12 << 20 // of an answer to http.fetch, in bytes
)

// The codes of errors. Scripts can catch them, so they are never renamed. Those of
// http.fetch are internal/egress's; those of functions that ask nothing of the node,
// such as json_invalid, stand in the documentation of their module.
const (
	CodeUnknown           = "unknown_host_function"
	CodeInvalidArguments  = "invalid_arguments"
	CodeCallLimit         = "host_call_limit"
	CodeOutboundLimit     = "outbound_call_limit"
	CodeNotSent           = "http_not_sent"
	CodeBusy              = "host_busy"
	CodeCancelled         = "cancelled"
	CodeNotInACall        = "not_in_a_call"
	CodeInternal          = "internal"
	CodeSecretNotFound    = "secret_not_found"
	CodeSecretUnavailable = "secret_unavailable"
	CodeKVInvalidKey      = "kv_invalid_key"
	CodeKVInvalidValue    = "kv_invalid_value"
	CodeKVTooLarge        = "kv_value_too_large"
	CodeKVQuota           = "kv_quota"
	CodeKVNotANumber      = "kv_not_a_number"
	CodeKVOverflow        = "kv_overflow"
	CodeKVUnavailable     = "kv_unavailable"
)
