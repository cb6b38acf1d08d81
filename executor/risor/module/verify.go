package module

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"math/big"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
)

func verifyFunction() Function {
	return Function{
		Name:    "verify",
		Args:    []Arg{{Name: "algorithm", Type: "string"}, {Name: "key", Type: "string|map|bytes"}, {Name: "data", Type: "string|bytes"}, {Name: "signature", Type: "bytes"}},
		Returns: "bool",
		Doc: "Whether a signature is that of the data. Algorithms are those of JWTs: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `ES512`, `EdDSA`. " +
			"The key is a public one: PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`), a JWK as a map or, for EdDSA, its 32 bytes. RSA keys have 2,048 to 8,192 bits. " +
			"ES signatures are raw (as in JWTs) or DER. Say which algorithm you expect: never take it from the message. For HS256 see `crypto.hmac`.",
		Errors: []Fault{{"crypto_invalid_key", "the key cannot be read, or it is for another algorithm"}, {"crypto_unknown_algorithm", "`crypto.verify` does not know the algorithm"}},
		Example: example(
			"let key = {kty: \"OKP\", crv: \"Ed25519\", x: \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
			"let signature = base64.decode(\"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg\", \"url\")",
			"let data = \"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc\"",
			"crypto.verify(\"EdDSA\", key, data, signature)         // → true",
			"crypto.verify(\"EdDSA\", key, data + \"!\", signature)   // → false",
			"crypto.verify(\"RS256\", key, data, signature)         // → error crypto_invalid_key",
		),
		call: verify,
	}
}

var errKeyKind = errors.New("it is for another algorithm")

func verify(a *arguments) (object.Object, error) {
	algorithm, data, signature := a.text(0), a.data(2), a.data(3)
	if a.fault == nil && !knownAlgorithm(algorithm) { // before the key: a shared secret is not a public key
		return nil, unknownAlgorithm(algorithm)
	}
	var key any
	var err error
	switch v := a.values[1].(type) {
	case *object.String:
		key, err = keyOfPEM(v.Value())
	case *object.Bytes:
		if len(v.Value()) == ed25519.PublicKeySize {
			key = ed25519.PublicKey(v.Value())
		} else {
			key, err = keyOfPEM(string(v.Value()))
		}
	default:
		m, ok := asMap(v)
		if !ok {
			return nil, a.wrong(1, "PEM, a JWK or 32 bytes")
		}
		key, err = keyOfJWK(m)
	}
	if a.fault != nil {
		return nil, a.fault
	}
	good := false
	if err == nil {
		good, err = a.signed(algorithm, key, data, signature)
	}
	var coded *hostcall.Error
	switch {
	case errors.As(err, &coded):
		return nil, coded
	case a.ctx.Err() != nil:
		return nil, a.ctx.Err()
	case err != nil:
		return nil, hostcall.Errorf("crypto_invalid_key", "the key cannot be used: %s", err)
	}
	return object.NewBool(good), nil
}

// algorithms are the names that JWTs have for a hash.
var algorithms = map[string]struct {
	make func() hash.Hash
	id   crypto.Hash
}{
	"256": {sha256.New, crypto.SHA256},
	"384": {sha512.New384, crypto.SHA384},
	"512": {sha512.New, crypto.SHA512},
}

// curveBits are those of the curve that an ES algorithm is for.
var curveBits = map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}

// knownAlgorithm says whether verify has it.
func knownAlgorithm(name string) bool {
	if name == "EdDSA" {
		return true
	}
	if len(name) != 5 {
		return false
	}
	_, ok := algorithms[name[2:]]
	return ok && (name[:2] == "RS" || name[:2] == "PS" || name[:2] == "ES")
}

func unknownAlgorithm(name string) *hostcall.Error {
	hint := "; see crypto.verify"
	if strings.HasPrefix(name, "HS") {
		hint = ": a signature made with a shared secret is checked with crypto.hmac and crypto.equal"
	}
	return hostcall.Errorf("crypto_unknown_algorithm", "crypto.verify has no algorithm %s%s", data.Shorten(name, 40), hint)
}

// signed checks a signature by a known algorithm.
func (a *arguments) signed(algorithm string, key any, data, signature []byte) (bool, error) {
	if algorithm == "EdDSA" {
		k, ok := key.(ed25519.PublicKey)
		if !ok {
			return false, errKeyKind
		}
		return ed25519.Verify(k, data, signature), nil
	}
	h := algorithms[algorithm[2:]]
	sum := h.make()
	if err := a.chunks(data, func(part []byte) { _, _ = sum.Write(part) }); err != nil {
		return false, err
	}
	digest := sum.Sum(nil)
	if algorithm[0] == 'E' {
		k, ok := key.(*ecdsa.PublicKey)
		if !ok || k.Curve.Params().BitSize != curveBits[algorithm] {
			return false, errKeyKind
		}
		if size := (curveBits[algorithm] + 7) / 8; len(signature) == 2*size {
			return ecdsa.Verify(k, digest, new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])), nil
		}
		return ecdsa.VerifyASN1(k, digest, signature), nil
	}
	k, ok := key.(*rsa.PublicKey)
	if !ok {
		return false, errKeyKind
	}
	if algorithm[0] == 'R' {
		return rsa.VerifyPKCS1v15(k, h.id, digest, signature) == nil, nil
	}
	return rsa.VerifyPSS(k, h.id, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil, nil
}
