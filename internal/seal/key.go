package seal

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
)

// ClusterKey wraps the data keys of apps. All nodes of a cluster have the same
// one, in a file each, and the database never has it. It is safe for concurrent
// use, and prints as its ID.
type ClusterKey struct {
	raw [keySize]byte
	id  string
	box box
}

func newClusterKey(raw [keySize]byte) *ClusterKey {
	sum := sha256.Sum256(append([]byte("picloud key id"), raw[:]...))
	return &ClusterKey{raw: raw, id: hex.EncodeToString(sum[:16]), box: newBox(&raw)}
}

// Generate returns a new random key. It is nowhere but in memory yet.
func Generate() *ClusterKey {
	var raw [keySize]byte
	rand.Read(raw[:]) // never fails
	return newClusterKey(raw)
}

// ID names the key without telling anything of it: 32 hexadecimal digits.
func (k *ClusterKey) ID() string { return k.id }

// String returns the key's ID.
func (k *ClusterKey) String() string { return "cluster key " + k.id }

// Format keeps the key out of every kind of print.
func (k *ClusterKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// LogValue keeps the key out of logs.
func (k *ClusterKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// NewDataKey returns a fresh data key for an app, wrapped.
func (k *ClusterKey) NewDataKey(app string) (wrapped []byte) {
	var raw [keySize]byte
	rand.Read(raw[:]) // never fails
	defer clear(raw[:])
	return k.box.seal(raw[:], "picloud/data-key/"+app)
}

// Unwrap returns the data key of an app, or ErrOpen.
func (k *ClusterKey) Unwrap(app string, wrapped []byte) (*DataKey, error) {
	plain, err := k.box.open(wrapped, "picloud/data-key/"+app)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	if len(plain) != keySize {
		return nil, ErrOpen
	}
	return &DataKey{app: app, box: newBox((*[keySize]byte)(plain))}, nil
}

// DataKey seals the values of one app. It is safe for concurrent use.
type DataKey struct {
	app string
	box box
}

// Format keeps the key out of every kind of print.
func (d *DataKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, "data key of "+d.app) }

// Seal returns the sealed form of a value, which opens only under its name.
func (d *DataKey) Seal(name string, value []byte) []byte {
	return d.box.seal(value, "picloud/secret/"+d.app+"/"+name)
}

// Open returns the value that was sealed under name, or ErrOpen.
func (d *DataKey) Open(name string, sealed []byte) ([]byte, error) {
	return d.box.open(sealed, "picloud/secret/"+d.app+"/"+name)
}
