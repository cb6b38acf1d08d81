package picloud

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// The bounds of key-value stores.
const (
	MaxKVKey   = 512       // bytes
	MaxKVValue = 256 << 10 // encoded, in bytes
	MaxKVDepth = 24        // nesting of lists and maps; answers to scripts nest values a little deeper
	MaxKVTTL   = 10 * 365 * 24 * time.Hour
)

// Why the number of a key cannot be changed.
var (
	ErrNotANumber = errors.New("the value is not an integer")
	ErrOverflow   = errors.New("the number would not fit into 64 bits")
)

// KVQuota is what an app may keep in its key-value store.
type KVQuota struct {
	Bytes Size `json:"bytes,omitempty"` // keys and encoded values; default 64 MiB, at most 16 GiB
	Keys  int  `json:"keys,omitempty"`  // default 100,000, at most 10,000,000
}

// WithDefaults returns the quota with the default for what is not set.
func (q KVQuota) WithDefaults() KVQuota {
	return KVQuota{Bytes: cmp.Or(q.Bytes, 64<<20), Keys: cmp.Or(q.Keys, 100_000)}
}

// KVEntry is one key of an app's key-value store.
type KVEntry struct {
	Key string
	// Value is encoded as CBOR, within MaxKVValue.
	Value []byte
	// Version is a number that no earlier state of the key had, from 1.
	Version int64
	// ExpiresAt is when the entry ends; zero: never.
	ExpiresAt time.Time
}

// CheckKVKey returns an error when key is not a valid key.
func CheckKVKey(key string) error {
	if key != "" && len(key) <= MaxKVKey && utf8.ValidString(key) && !strings.ContainsRune(key, 0) {
		return nil
	}
	return &Error{
		Code: CodeInvalid, Op: "check key", Detail: fmt.Sprintf("%q is not a valid key", Shorten(key, 80)),
		Hint:   fmt.Sprintf("a key is 1 to %d bytes of UTF-8 without NUL", MaxKVKey),
		Fields: []FieldError{{Field: "key", Message: fmt.Sprintf("must be 1 to %d bytes of UTF-8 without NUL", MaxKVKey)}},
	}
}

// Effects are what a run would have changed outside of itself: that of a draft, whose
// writes are thrown away.
type Effects struct {
	// Writes are the keys that would differ, in the order of their first writes.
	Writes []KeyWrite `json:"writes"`
	// Requests are the outgoing requests, the first 100 of them.
	Requests []OutboundRequest `json:"requests"`
	// MoreRequests is how many there were besides.
	MoreRequests int `json:"more_requests,omitempty"`
}

// KeyWrite is what becomes of a key.
type KeyWrite struct {
	Key  string `json:"key"`
	Op   string `json:"op"`             // WriteSet or WriteDelete
	Size int    `json:"size,omitempty"` // of the value in its stored form, in bytes
}

// What becomes of a key.
const (
	WriteSet    = "set"
	WriteDelete = "delete"
)

// OutboundRequest is a request to another server.
type OutboundRequest struct {
	Method string `json:"method"`
	URL    string `json:"url"`
	Sent   bool   `json:"sent"`
}
