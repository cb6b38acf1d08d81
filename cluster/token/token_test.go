package token

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestATokenIsOneWord(t *testing.T) {
	token := New(Pin{1, 2, 3})
	require.Regexp(t, `^PCT1\.[A-Z2-7]{96}$`, token.Text())
	for _, text := range []string{token.Text(), " " + token.Text() + "\n", strings.ToLower(token.Text())} {
		read, err := Parse(text)
		require.NoError(t, err)
		require.Equal(t, token.Text(), read.Text())
		require.Equal(t, [][]byte{token.Pin[:], token.ID[:], token.SecretHash()}, [][]byte{read.Pin[:], read.ID[:], read.SecretHash()})
	}
	require.NotEqual(t, token.Text(), New(Pin{1, 2, 3}).Text())

	secret := token.secret()
	sum := sha256.Sum256(secret[:])
	require.Equal(t, sum[:], token.SecretHash())
	require.Empty(t, Token{}.Text())
	require.Nil(t, Token{}.SecretHash())
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	text := New(Pin{9}).Text()
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {"", "empty"},
		"only the prefix":   {"PCT1.", "cut off: 96 of its 101"},
		"half the prefix":   {"PCT1", "cut off"},
		"one missing":       {text[:len(text)-1], "cut off: 1 of its 101"},
		"half":              {text[:50], "cut off: 51 of its 101"},
		"beginning missing": {text[len(prefix):], "its beginning, PCT1., is missing"},
		"twice":             {text + text, "101 characters too many"},
		"newer":             {"PCT2." + text[len(prefix):], "another version"},
		"a URL":             {"http://pi-1.local/", "not a token"},
		"a UUID":            {"PCTX.0", "not a token"},
		"not base32":        {text[:20] + "0" + text[21:], "characters that no token has"},
		"line break":        {text[:20] + "\n" + text[21:], "characters that no token has"},
		"not ASCII":         {text[:20] + "é" + text[22:], "characters that no token has"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.text)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, picloud.CodeInvalid, picloud.CodeOf(err))
		})
	}
}

// Every mistake of one character is found, and so is every exchange of two
// neighbours.
func TestAMistypedTokenIsFound(t *testing.T) {
	text := New(Pin{7, 7}).Text()
	for i := len(prefix); i < len(text); i++ {
		wrong := []byte(text)
		wrong[i] = 'A' + (wrong[i]-'A'+1)%26
		if wrong[i] == text[i] {
			continue
		}
		_, err := Parse(string(wrong))
		require.ErrorContains(t, err, "mistyped", i)
		if i == len(prefix) || text[i-1] == text[i] {
			continue
		}
		wrong = []byte(text)
		wrong[i-1], wrong[i] = wrong[i], wrong[i-1]
		_, err = Parse(string(wrong))
		require.ErrorContains(t, err, "mistyped", i)
	}
}

func TestATokenNeverPrintsItsSecret(t *testing.T) {
	token := New(Pin{1})
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("one", slog.Any("token", token), slog.Any("in", struct{ T Token }{token}))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		fmt.Fprintf(&out, verb+"\n", token)
		fmt.Fprintf(&out, verb+"\n", &token)
		fmt.Fprintf(&out, verb+"\n", struct{ hidden Token }{token})
	}
	raw, err := json.Marshal(token)
	require.NoError(t, err)
	out.Write(raw)
	require.NotContains(t, out.String(), token.Text())
	array := token.secret()
	secret := array[:]
	decimal := strings.Trim(fmt.Sprint(array), "[]")
	for _, form := range []string{hex.EncodeToString(secret), decimal, strings.ReplaceAll(decimal, " ", ","), fmt.Sprintf("%#v", secret)} {
		require.NotContains(t, strings.ToLower(out.String()), form)
	}
	require.Contains(t, out.String(), hex.EncodeToString(token.ID[:]))
}

func TestPinIsOfThePublicKey(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	var pins []Pin
	for serial := range int64(2) {
		template := &x509.Certificate{SerialNumber: big.NewInt(serial + 1)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		pins = append(pins, PinOf(cert))
	}
	require.Equal(t, pins[0], pins[1], "a root that was signed again for the same key keeps its pin")
	spki, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	require.Equal(t, Pin(sha256.Sum256(spki)), pins[0])
	require.Len(t, pins[0].String(), 64)
}

func FuzzParse(f *testing.F) {
	f.Add(New(Pin{1}).Text())
	f.Add("PCT1." + strings.Repeat("A", 96))
	f.Add("PCT2.x")
	f.Add("PCT1.\n")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := Parse(text)
		if err != nil {
			require.Equal(t, picloud.CodeInvalid, picloud.CodeOf(err))
			require.Less(t, len(err.Error()), 300, "the error repeats no text of a stranger")
			return
		}
		require.Equal(t, strings.ToUpper(strings.TrimSpace(text)), token.Text(), "a token has one text")
	})
}
