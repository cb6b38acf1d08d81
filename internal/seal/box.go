package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"
)

// keySize is the length of keys in bytes.
const keySize = chacha20poly1305.KeySize

// Overhead is how much longer a sealed value is than the value, in bytes.
const Overhead = 1 + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

// version is the first byte of each sealed blob.
const version = 1

// ErrOpen says that something cannot be opened: by another key, for another
// app or name, or damaged. It never says which.
var ErrOpen = errors.New("cannot be opened with this key")

// box seals and opens with one key.
type box struct{ aead cipher.AEAD }

func newBox(key *[keySize]byte) box {
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic(err) // the length of the key is a constant
	}
	return box{aead}
}

// seal returns the sealed form of value, which opens only with the same
// purpose.
func (b box) seal(value []byte, purpose string) []byte {
	out := make([]byte, 1+chacha20poly1305.NonceSizeX, Overhead+len(value))
	out[0] = version
	rand.Read(out[1:]) // never fails
	return b.aead.Seal(out, out[1:], value, []byte(purpose))
}

// open returns the value, or ErrOpen.
func (b box) open(sealed []byte, purpose string) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != version {
		return nil, ErrOpen
	}
	nonce, text := sealed[1:1+chacha20poly1305.NonceSizeX], sealed[1+chacha20poly1305.NonceSizeX:]
	value, err := b.aead.Open(nil, nonce, text, []byte(purpose))
	if err != nil {
		return nil, ErrOpen
	}
	return value, nil
}
