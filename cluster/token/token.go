// Package token is the text that an invitation to a cluster consists of: whom the
// new node may trust, and the secret that lets it in.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/picloud/picloud"
)

// Pin names the root of a cluster: the SHA-256 of its SubjectPublicKeyInfo. It is
// no secret.
type Pin [sha256.Size]byte

// PinOf returns the pin of a certificate.
func PinOf(cert *x509.Certificate) Pin { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// String returns the pin in hexadecimal.
func (p Pin) String() string { return hex.EncodeToString(p[:]) }

const (
	idSize     = 8
	secretSize = 16
	sumSize    = 4
	payload    = len(Pin{}) + idSize + secretSize

	// prefix is the form and its version.
	prefix = "PCT1."
)

// bodyLength is the count of characters behind the prefix. The payload and its
// checksum are 60 bytes, which base32 writes as 96 characters without padding.
const bodyLength = (payload + sumSize) * 8 / 5

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Token invites nodes into a cluster. It prints as its ID, never as its secret;
// Text is the only way to that.
type Token struct {
	Pin Pin          // the cluster that invites: the joiner trusts no other
	ID  [idSize]byte // what the database finds the invitation by
	// secret returns the secret. It is a function, because fmt prints the unexported
	// fields of a struct without asking their methods, and shows of a function only
	// the address.
	secret func() [secretSize]byte
}

// New returns a token with a random ID and secret for the cluster of the pin.
func New(pin Pin) Token {
	var id [idSize]byte
	var secret [secretSize]byte
	rand.Read(id[:]) // never fails
	rand.Read(secret[:])
	return build(pin, id, secret)
}

func build(pin Pin, id [idSize]byte, secret [secretSize]byte) Token {
	return Token{Pin: pin, ID: id, secret: func() [secretSize]byte { return secret }}
}

// Text returns the token as people copy it: "PCT1." and 96 capital letters and
// digits, which are the base32 of pin, ID, secret and checksum. It has no dots or
// hyphens behind the prefix, so that a double click selects the whole of it. The
// zero token has no text.
func (t Token) Text() string {
	if t.secret == nil {
		return ""
	}
	secret := t.secret()
	raw := slices.Concat(t.Pin[:], t.ID[:], secret[:])
	sum := checksum(raw)
	return prefix + encoding.EncodeToString(append(raw, sum[:]...))
}

// checksum finds mistakes of copying. It proves nothing.
func checksum(raw []byte) (sum [sumSize]byte) {
	full := sha256.Sum256(append([]byte(prefix), raw...))
	copy(sum[:], full[:])
	return sum
}

// SecretHash returns the SHA-256 of the secret, which is all that the database
// keeps of it. The secret has 128 random bits, so that a plain hash suffices.
func (t Token) SecretHash() []byte {
	if t.secret == nil {
		return nil
	}
	secret := t.secret()
	sum := sha256.Sum256(secret[:])
	return sum[:]
}

// Parse reads what Text wrote. White space around it and small letters are
// accepted. The errors say how the text is wrong, and never repeat it.
func Parse(text string) (Token, error) {
	text = strings.ToUpper(strings.TrimSpace(text))
	body, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return Token{}, unknown(text)
	}
	if missing := bodyLength - len(body); missing > 0 {
		return Token{}, invalid(fmt.Sprintf("it is cut off: %d of its %d characters are missing", missing, len(prefix)+bodyLength), copyWhole)
	} else if missing < 0 {
		return Token{}, invalid(fmt.Sprintf("it has %d characters too many", -missing), copyWhole)
	}
	// The decoder of base32 skips line breaks, so the length of its result counts too.
	raw, err := encoding.DecodeString(body)
	if err != nil || len(raw) != payload+sumSize {
		return Token{}, invalid("it is mistyped: it has characters that no token has", copyWhole)
	}
	raw, sum := raw[:payload], [sumSize]byte(raw[payload:])
	if checksum(raw) != sum {
		return Token{}, invalid("it is mistyped: its checksum does not fit", copyWhole)
	}
	pin, raw := raw[:len(Pin{})], raw[len(Pin{}):]
	return build(Pin(pin), [idSize]byte(raw), [secretSize]byte(raw[idSize:])), nil
}

const copyWhole = "copy the whole token that `picloud node invite` printed"

// unknown explains a text that does not begin as a token of this version.
func unknown(text string) error {
	version, _, dot := strings.Cut(text, ".")
	digits, pct := strings.CutPrefix(version, "PCT")
	switch {
	case text == "":
		return invalid("it is empty", copyWhole)
	case text == strings.TrimSuffix(prefix, "."):
		return invalid("it is cut off behind "+text, copyWhole)
	case dot && pct && digits != "" && len(digits) <= 4 && strings.Trim(digits, "0123456789") == "":
		return invalid("it is of another version: this node reads "+prefix+" and the token begins with "+version+".", "run the same version of PiCloud on this node and on the one that invites")
	case len(text) == bodyLength && !dot:
		return invalid("its beginning, "+prefix+", is missing", copyWhole)
	}
	return invalid("it is not a token: tokens begin with "+prefix, "make one with `picloud node invite` on a node of the cluster")
}

func invalid(detail, hint string) error {
	return &picloud.Error{Code: picloud.CodeInvalid, Op: "read join token", Detail: detail, Hint: hint}
}

// String names the token by its ID, for logs and lists.
func (t Token) String() string { return "join token " + hex.EncodeToString(t.ID[:]) }

// Format keeps the secret out of every kind of print.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprint(f, t.String()) }

// LogValue keeps the secret out of logs.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }
