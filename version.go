package picloud

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Digest is the SHA-256 of a script's source. Equal sources are one version.
type Digest [sha256.Size]byte

// DigestOf returns the digest of source.
func DigestOf(source []byte) Digest { return sha256.Sum256(source) }

// String returns the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText writes the digest in hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a hexadecimal digest.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(d)) {
		return hex.ErrLength
	}
	_, err := hex.Decode(d[:], b)
	return err
}

// Version is one immutable state of a function's code, counted from 1.
type Version struct {
	App       string    `json:"app"`
	Function  string    `json:"function"`
	Number    int       `json:"number"`
	Digest    Digest    `json:"digest"`
	Size      int       `json:"size"` // of the source, in bytes
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
}

// Compiled is what compiling a script found.
type Compiled struct {
	// Handlers are the handler functions that the script defines: handle, on_schedule, on_event.
	Handlers []string `json:"handlers"`
}
