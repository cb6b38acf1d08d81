package module

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/risor/data"
)

// The sizes of RSA keys: smaller ones are forged, larger ones take too long.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

var (
	errKeyForm = errors.New("it is malformed")
	errKeySize = errors.New("it has fewer than 2048 or more than 8192 bits")
	errKeyType = errors.New("it is not an RSA, P-256, P-384, P-521 or Ed25519 key")
)

// Object identifiers, as they are encoded.
var (
	oidRSA     = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01}
	oidEC      = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01}
	oidEd25519 = []byte{0x2b, 0x65, 0x70}
)

// keyOfPEM reads a public key. It does what crypto/x509 would, which the worker
// does not link for its size.
func keyOfPEM(text string) (any, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("it is not PEM, which begins with -----BEGIN PUBLIC KEY-----")
	}
	switch block.Type {
	case "PUBLIC KEY":
		return keyOfSPKI(block.Bytes)
	case "RSA PUBLIC KEY":
		return rsaOfDER(block.Bytes)
	}
	return nil, errors.New("it is a " + data.Shorten(block.Type, 40) + ", not a PUBLIC KEY; openssl x509 -pubkey -noout takes one out of a certificate")
}

// The tags of DER.
const (
	derInteger  = 0x02
	derBits     = 0x03
	derObject   = 0x06
	derSequence = 0x30
)

// der takes one value of the given tag off DER.
func der(b []byte, tag byte) (content, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	n, b := int(b[1]), b[2:]
	if n >= 0x80 {
		size := n & 0x7f
		if size < 1 || size > 3 || len(b) < size {
			return nil, nil, false
		}
		n = 0
		for _, c := range b[:size] {
			n = n<<8 | int(c)
		}
		b = b[size:]
	}
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

func keyOfSPKI(b []byte) (any, error) {
	outer, rest, ok1 := der(b, derSequence)
	algorithm, outer, ok2 := der(outer, derSequence)
	bits, after, ok3 := der(outer, derBits)
	oid, parameters, ok4 := der(algorithm, derObject)
	if !ok1 || !ok2 || !ok3 || !ok4 || len(rest)+len(after) > 0 || len(bits) == 0 || bits[0] != 0 {
		return nil, errKeyForm
	}
	key := bits[1:]
	switch {
	case bytes.Equal(oid, oidRSA):
		return rsaOfDER(key)
	case bytes.Equal(oid, oidEC):
		name, _, _ := der(parameters, derObject)
		return ecKey(curveNamed(string(name)), key)
	case bytes.Equal(oid, oidEd25519):
		return edKey(key)
	}
	return nil, errKeyType
}

func rsaOfDER(b []byte) (any, error) {
	inner, rest, ok1 := der(b, derSequence)
	n, inner, ok2 := der(inner, derInteger)
	e, after, ok3 := der(inner, derInteger)
	if !ok1 || !ok2 || !ok3 || len(rest)+len(after) > 0 {
		return nil, errKeyForm
	}
	return rsaKey(n, e)
}

func rsaKey(modulus, exponent []byte) (any, error) {
	n, e := new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(exponent)
	if n.BitLen() < minRSABits || n.BitLen() > maxRSABits {
		return nil, errKeySize
	}
	if n.Bit(0) == 0 || e.BitLen() > 31 || e.BitLen() < 2 || e.Bit(0) == 0 {
		return nil, errKeyForm
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func ecKey(curve elliptic.Curve, point []byte) (any, error) {
	if curve == nil {
		return nil, errKeyType
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, errKeyForm
	}
	return key, nil
}

func edKey(key []byte) (any, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, errKeyForm
	}
	return ed25519.PublicKey(key), nil
}

// curveNamed returns the curve of a JWK's name or of an object identifier.
// Making curves costs time, so that no table holds them.
func curveNamed(name string) elliptic.Curve {
	switch name {
	case "P-256", "\x2a\x86\x48\xce\x3d\x03\x01\x07":
		return elliptic.P256()
	case "P-384", "\x2b\x81\x04\x00\x22":
		return elliptic.P384()
	case "P-521", "\x2b\x81\x04\x00\x23":
		return elliptic.P521()
	}
	return nil
}

// keyOfJWK reads a public key as RFC 7517 writes it.
func keyOfJWK(m *object.Map) (any, error) {
	text := func(name string) string {
		s, _ := m.Get(name).(*object.String)
		if s == nil {
			return ""
		}
		return s.Value()
	}
	number := func(name string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(data.Shorten(text(name), 4096), "="))
		if err != nil {
			return nil
		}
		return b
	}
	switch text("kty") {
	case "RSA":
		return rsaKey(number("n"), number("e"))
	case "EC":
		curve := curveNamed(text("crv"))
		if curve == nil {
			return nil, errKeyType
		}
		x, y := number("x"), number("y")
		if size := (curve.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
			return nil, errKeyForm
		}
		return ecKey(curve, append(append([]byte{4}, x...), y...))
	case "OKP":
		if text("crv") != "Ed25519" {
			return nil, errKeyType
		}
		return edKey(number("x"))
	}
	return nil, errKeyType
}
