package risor

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// signer makes a signature as JWTs have it.
type signer struct {
	public crypto.PublicKey
	sign   func(algorithm string, data []byte) []byte
}

func signers(t testing.TB) map[string]signer {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	hashed := func(algorithm string, data []byte) (crypto.Hash, []byte) {
		id := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[algorithm[2:]]
		sum := id.New()
		_, _ = sum.Write(data)
		return id, sum.Sum(nil)
	}
	all := map[string]signer{"RSA": {&rsaKey.PublicKey, func(algorithm string, data []byte) []byte {
		id, digest := hashed(algorithm, data)
		if algorithm[0] == 'R' {
			s, err := rsa.SignPKCS1v15(nil, rsaKey, id, digest)
			require.NoError(t, err)
			return s
		}
		s, err := rsa.SignPSS(rand.Reader, rsaKey, id, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		require.NoError(t, err)
		return s
	}}}
	for name, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		all[name] = signer{&key.PublicKey, func(algorithm string, data []byte) []byte {
			_, digest := hashed(algorithm, data)
			r, s, err := ecdsa.Sign(rand.Reader, key, digest)
			require.NoError(t, err)
			size := (curve.Params().BitSize + 7) / 8
			return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}}
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	all["EdDSA"] = signer{public, func(_ string, data []byte) []byte { return ed25519.Sign(private, data) }}
	return all
}

func pemOf(t testing.TB, public crypto.PublicKey) string {
	b, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b}))
}

func jwkOf(public crypto.PublicKey) map[string]any {
	enc := base64.RawURLEncoding.EncodeToString
	switch k := public.(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": enc(k.N.Bytes()), "e": enc(big.NewInt(int64(k.E)).Bytes())}
	case *ecdsa.PublicKey:
		size := (k.Curve.Params().BitSize + 7) / 8
		point, _ := k.Bytes()
		return map[string]any{"kty": "EC", "crv": k.Curve.Params().Name, "x": enc(point[1 : 1+size]), "y": enc(point[1+size:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": enc(k)}
	}
	return nil
}

// askVerify calls crypto.verify and returns the verdict or the code of the error.
func askVerify(t *testing.T, algorithm string, key any, data string, signature []byte) string {
	t.Helper()
	call := newCall()
	program := mustCompile(t, `function handle(req) {
    let q = json.parse(secrets.get("q"))
    let key = if (type(q.key) == "string" && q.raw) { base64.decode(q.key) } else { q.key }
    return try { string(crypto.verify(q.algorithm, key, q.data, base64.decode(q.signature))) } catch (e) { e.code }
}`)
	_, raw := key.([]byte) // in base64, as json.Marshal writes it
	question, err := json.Marshal(map[string]any{"algorithm": algorithm, "key": key, "raw": raw, "data": data, "signature": base64.StdEncoding.EncodeToString(signature)})
	require.NoError(t, err)
	call.Host = &recorder{answer: string(question)}
	require.NoError(t, program.Invoke(call))
	return string(call.Response.Body)
}

func TestVerify(t *testing.T) {
	all := signers(t)
	for name, names := range map[string][]string{
		"RSA": {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, "ES256": {"ES256"}, "ES384": {"ES384"}, "ES512": {"ES512"}, "EdDSA": {"EdDSA"},
	} {
		s := all[name]
		for _, algorithm := range names {
			signature := s.sign(algorithm, []byte("data"))
			for form, key := range map[string]any{"pem": pemOf(t, s.public), "jwk": jwkOf(s.public)} {
				t.Run(algorithm+"/"+form, func(t *testing.T) {
					require.Equal(t, "true", askVerify(t, algorithm, key, "data", signature))
					require.Equal(t, "false", askVerify(t, algorithm, key, "dato", signature))
					bad := append([]byte{}, signature...)
					bad[len(bad)/2] ^= 1
					require.Equal(t, "false", askVerify(t, algorithm, key, "data", bad))
					require.Equal(t, "false", askVerify(t, algorithm, key, "data", nil))
					for _, other := range []string{"RS256", "ES256", "ES384", "EdDSA"} {
						if other != algorithm && (name != "RSA" || other != "RS256") {
							require.Equal(t, "crypto_invalid_key", askVerify(t, other, key, "data", signature), other)
						}
					}
				})
			}
		}
	}
	require.Equal(t, "true", askVerify(t, "EdDSA", []byte(all["EdDSA"].public.(ed25519.PublicKey)), "data", all["EdDSA"].sign("EdDSA", []byte("data"))))

	der, err := ecdsaDER(all["ES256"].sign("ES256", []byte("data")))
	require.NoError(t, err)
	require.Equal(t, "true", askVerify(t, "ES256", pemOf(t, all["ES256"].public), "data", der))

	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(all["RSA"].public.(*rsa.PublicKey))})
	require.Equal(t, "true", askVerify(t, "RS256", string(pkcs1), "data", all["RSA"].sign("RS256", []byte("data"))))

	for _, name := range []string{"HS256", "none", "RS1", "", "ES999", "RS257"} {
		require.Equal(t, "crypto_unknown_algorithm", askVerify(t, name, jwkOf(all["RSA"].public), "data", nil), name)
		require.Equal(t, "crypto_unknown_algorithm", askVerify(t, name, "a shared secret", "data", nil), name)
	}
}

func ecdsaDER(raw []byte) ([]byte, error) {
	integer := func(b []byte) []byte {
		b = new(big.Int).SetBytes(b).Bytes()
		if b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{0x02, byte(len(b))}, b...)
	}
	body := append(integer(raw[:len(raw)/2]), integer(raw[len(raw)/2:])...)
	return append([]byte{0x30, byte(len(body))}, body...), nil
}

func TestBadKeys(t *testing.T) {
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	small := jwkOf(&rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1024), big.NewInt(1)), E: 65537})
	large := jwkOf(&rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 16384), big.NewInt(1)), E: 65537})
	even := jwkOf(&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537})
	for name, key := range map[string]any{
		"text": "hello", "certificate": certificate, "small": small, "large": large, "even": even,
		"no point": map[string]any{"kty": "EC", "crv": "P-256", "x": jwkText(32), "y": jwkText(32)},
		"secret":   map[string]any{"kty": "oct", "k": "AAAA"}, "empty": map[string]any{}, "curve": map[string]any{"kty": "EC", "crv": "secp256k1"},
		"short": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, "not text": map[string]any{"kty": "RSA", "n": 5, "e": []any{}},
	} {
		require.Equal(t, "crypto_invalid_key", askVerify(t, "RS256", key, "data", nil), name)
	}
	require.Equal(t, "invalid_arguments", askVerify(t, "RS256", 5, "data", nil))
}

func jwkText(n int) string { return base64.RawURLEncoding.EncodeToString(make([]byte, n)) }
