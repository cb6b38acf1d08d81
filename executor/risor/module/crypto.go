package module

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // scripts check signatures of others with it
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // scripts check signatures of others with it
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"time"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
)

// maxRandom bounds crypto.random, in bytes.
const maxRandom = 64 << 10

var hashes = []struct {
	name string
	make func() hash.Hash
	hex  string // of the digest of "abc", for the example
}{
	{"sha256", sha256.New, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{"sha512", sha512.New, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
	{"sha1", sha1.New, "a9993e364706816aba3e25717850c26c9cd0d89d"},
	{"md5", md5.New, "900150983cd24fb0d6963f7d28e17f72"},
}

func cryptoModule() Module {
	m := Module{
		Name: "crypto",
		Doc:  "Digests, message authentication, signatures and random values. Digests are bytes: write them with `hex.encode` or `base64.encode`.",
	}
	data := Arg{Name: "data", Type: "string|bytes"}
	for _, h := range hashes {
		doc := "The digest of the data."
		if h.name == "sha1" || h.name == "md5" {
			doc = "The digest of the data, for what still asks for it; it protects nothing."
		}
		m.Functions = append(m.Functions, Function{
			Name: h.name, Args: []Arg{data}, Returns: "bytes", Doc: doc,
			Example: "hex.encode(crypto." + h.name + `("abc"))   // → "` + h.hex + `"`,
			call:    func(a *arguments) (object.Object, error) { return a.digest(h.make(), a.data(0)) },
		})
	}
	m.Functions = append(
		m.Functions,
		Function{
			Name: "hmac", Args: []Arg{{Name: "hash", Type: "string"}, {Name: "key", Type: "string|bytes"}, data}, Returns: "bytes",
			Doc:     "A message authentication code (RFC 2104) with `sha256`, `sha512`, `sha1` or `md5`. Compare it with `crypto.equal`.",
			Example: `hex.encode(crypto.hmac("sha256", "key", "data"))   // → "5031fe3d989c6d1537a013fa6e739da23463fdaec3b70137d828e36ace221bd0"`,
			call: func(a *arguments) (object.Object, error) {
				name, key, data := a.text(0), a.data(1), a.data(2)
				for _, h := range hashes {
					if h.name == name {
						return a.digest(hmac.New(h.make, key), data)
					}
				}
				return nil, a.wrong(0, "sha256, sha512, sha1 or md5")
			},
		},
		Function{
			Name: "equal", Args: []Arg{{Name: "a", Type: "string|bytes"}, {Name: "b", Type: "string|bytes"}}, Returns: "bool",
			Doc:     "Whether two values are equal, in a time that does not tell where they differ. For tokens and signatures, where `==` would.",
			Example: example(`crypto.equal("token", bytes("token"))   // → true`, `crypto.equal("token", "taken")          // → false`),
			call: func(a *arguments) (object.Object, error) {
				return object.NewBool(subtle.ConstantTimeCompare(a.data(0), a.data(1)) == 1), nil
			},
		},
		verifyFunction(),
		Function{
			Name: "random", Args: []Arg{{Name: "count", Type: "int"}}, Returns: "bytes",
			Doc:     "Bytes that nobody can guess, 1 to 65,536.",
			Example: example(`len(crypto.random(16))                           // → 16`, `len(base64.encode(crypto.random(24), "rawurl"))   // → 32`, `crypto.random(0)                                 // → error invalid_arguments`),
			call: func(a *arguments) (object.Object, error) {
				n := a.int(0, 0)
				if n < 1 || n > maxRandom {
					return nil, a.wrong(0, "an int from 1 to 65536")
				}
				b := make([]byte, n)
				_, _ = rand.Read(b) // it never fails
				return object.NewBytes(b), nil
			},
		},
		Function{
			Name: "uuid4", Returns: "string", Doc: "A random UUID (RFC 9562, version 4).",
			Example: `crypto.uuid4()   // → "…-…-4…-…-…"`,
			call:    func(*arguments) (object.Object, error) { return object.NewString(uuid(4)), nil },
		},
		Function{
			Name: "uuid7", Returns: "string", Doc: "A UUID that begins with the time (RFC 9562, version 7), so that later ones sort behind: good for keys.",
			Example: `crypto.uuid7()   // → "0…-…-7…-…-…"`,
			call:    func(*arguments) (object.Object, error) { return object.NewString(uuid(7)), nil },
		},
	)
	return m
}

// digest feeds a hash, and keeps the call's time.
func (a *arguments) digest(h hash.Hash, data []byte) (object.Object, error) {
	if err := a.chunks(data, func(part []byte) { _, _ = h.Write(part) }); err != nil {
		return nil, err
	}
	return object.NewBytes(h.Sum(nil)), nil
}

func uuid(version byte) string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	if version == 7 {
		var ms [8]byte
		binary.BigEndian.PutUint64(ms[:], uint64(time.Now().UnixMilli()))
		copy(b[:6], ms[2:])
	}
	b[6] = b[6]&0x0f | version<<4
	b[8] = b[8]&0x3f | 0x80
	text := hex.EncodeToString(b[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
