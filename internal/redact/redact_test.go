package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
)

func newSecrets() *Secrets { return &Secrets{} }

func TestRedaction(t *testing.T) {
	r := newSecrets()
	require.Nil(t, r.Of("shop"))
	require.Equal(t, "as it is", r.Of("shop").Text("as it is"))
	const value = `p@ss wörd/"1"+<&>` + "\t!"
	r.Learn("shop", "TOKEN", value)
	r.Learn("shop", "TOKEN", value)
	require.Nil(t, r.Of("blog"), "another app's logs are not searched")
	x := r.Of("shop")
	quoted, err := json.Marshal(value)
	require.NoError(t, err)
	var lower strings.Builder
	for i := range len(value) {
		fmt.Fprintf(&lower, "%%%02x", value[i])
	}
	for name, form := range map[string]string{
		"plain": value, "json": string(quoted), "quoted": fmt.Sprintf("%q", value), "query": url.QueryEscape(value), "path": url.PathEscape(value),
		"base64": base64.StdEncoding.EncodeToString([]byte(value)), "raw": base64.RawStdEncoding.EncodeToString([]byte(value)), "url": base64.URLEncoding.EncodeToString([]byte(value)),
		"hex": hex.EncodeToString([]byte(value)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(value))),
		"basic": base64.StdEncoding.EncodeToString([]byte("user:" + value)), "basic1": base64.StdEncoding.EncodeToString([]byte("u1234:" + value)), "basic2": base64.StdEncoding.EncodeToString([]byte("u12345:" + value + "x")),
	} {
		got := x.Text("a " + form + " z")
		require.Contains(t, got, "[secret TOKEN]", "%s: %s", name, form)
		require.True(t, strings.HasPrefix(got, "a ") && strings.HasSuffix(got, " z"), got)
		if strings.HasPrefix(name, "basic") {
			decoded, err := base64.StdEncoding.DecodeString(form)
			require.NoError(t, err)
			require.Contains(t, string(decoded), value)
		}
	}

	fields := map[string]any{
		"n": int64(1), "s": value, "b": []byte("x" + value), value: true,
		"deep": []any{map[string]any{"x": []any{"a" + value}}, nil, 1.5},
	}
	rec := picloud.LogRecord{Message: "m " + value, Fields: fields}
	x.Record(&rec)
	raw, err := json.Marshal(rec)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "wörd")
	require.NotContains(t, string(raw), base64.StdEncoding.EncodeToString([]byte(value))[4:20])
	require.Equal(t, 5, strings.Count(string(raw), "[secret TOKEN]"), string(raw))

	err = x.Err(&picloud.Error{
		Code: picloud.CodeFunctionError, Detail: "d " + value, Hint: "h " + value, Err: errors.New("e " + value),
		Script: &picloud.ScriptError{Message: value, Excerpt: value},
	})
	hidden, ok := errors.AsType[*picloud.Error](err)
	require.True(t, ok)
	require.NotContains(t, fmt.Sprintf("%v %+v", err, hidden.Script), "wörd")
	require.Equal(t, picloud.CodeFunctionError, picloud.CodeOf(err))
	r.Retain(func(app string) bool { return app == "shop" })
	require.NotNil(t, r.Of("shop"))
	r.Retain(func(app string) bool { return app != "shop" })
	require.Nil(t, r.Of("shop"))
}

func TestWhatIsHiddenDependsOnTheLength(t *testing.T) {
	r := newSecrets()
	r.Learn("a", "SHORT", "abc")
	require.Nil(t, r.Of("a"), "three letters are in too many words")
	r.Learn("a", "PIN", "4711")
	require.Equal(t, "[secret PIN] NDcxMQ==", r.Of("a").Text("4711 NDcxMQ=="))
	r.Learn("a", "NUMBER", "12345678")
	fields := map[string]any{"i": int64(12345678), "f": float64(12345678), "o": int64(5)}
	r.Of("a").fields(fields)
	require.Equal(t, map[string]any{"i": "[secret NUMBER]", "f": "[secret NUMBER]", "o": int64(5)}, fields)

	// The longer of two that overlap is hidden whole.
	r.Learn("a", "LONG", "4711-and-more")
	require.Equal(t, "[secret LONG] [secret PIN]", r.Of("a").Text("4711-and-more 4711"))

	// A text that was cut within a secret.
	r.Learn("cut", "TOKEN", "secret-at-the-end")
	require.Equal(t, strings.Repeat(".", cutText)+"[secret TOKEN]", r.Of("cut").Text(strings.Repeat(".", cutText)+"secret-at-t"))
	require.Equal(t, "short secret-", r.Of("cut").Text("short secret-"))

	// A line of a key in several.
	pem := "-----BEGIN KEY-----\n" + strings.Repeat("A1b2", 16) + "\nshort\n-----END KEY-----\n"
	r.Learn("a", "PEM", pem)
	require.Equal(t, "[secret PEM]", r.Of("a").Text(strings.Repeat("A1b2", 16)))
	require.Equal(t, "short", r.Of("a").Text("short"))
	require.Equal(t, "[secret PEM]", r.Of("a").Text(pem))
}

// Long secrets are found whole, in part and at the end of what was cut, and each
// stands for one mark.
func TestLongSecretsAreHidden(t *testing.T) {
	r := newSecrets()
	var b strings.Builder
	for i := range 6000 {
		fmt.Fprintf(&b, "%d,", i)
	}
	long := b.String()[:20_000]
	r.Learn("a", "LONG", long)
	r.Learn("a", "OTHER", "another-secret")
	x := r.Of("a")
	require.Equal(t, "< [secret LONG] > [secret OTHER]", x.Text("< "+long+" > another-secret"))
	require.Equal(t, "[secret LONG]", x.Text(base64.StdEncoding.EncodeToString([]byte(long))))
	require.NotContains(t, x.Text("< "+long[2000:9000]+" >"), long[4000:4100])
	for _, end := range []int{100, 511, 512, 516, 3000, 19_500} {
		require.Equal(t, strings.Repeat(".", cutText)+"[secret LONG]", x.Text(strings.Repeat(".", cutText)+long[:end]), end)
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		s, text string
		want    int
	}{
		{"xxabcd", "abcdef", 4}, {"xxabcdef", "abcdef", 0}, {"abc", "abcdef", 0}, {"", "abcdef", 0}, {"aaaaaaaa", "aaaaaa", 5}, {"abababab", "ababac", 4}, {"ababab", "abababx", 6},
	} {
		require.Equal(t, c.want, overlap(c.s, c.text), c)
	}
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.StringOfN(rapid.RuneFrom([]rune("ab")), shortSecret, 40, -1)
		s, text := letters.Draw(t, "s"), letters.Draw(t, "text")
		want := min(len(s), len(text)-1)
		for want >= shortSecret && !strings.HasSuffix(s, text[:want]) {
			want--
		}
		if want < shortSecret {
			want = 0
		}
		require.Equal(t, want, overlap(s, text))
	})
}

// Neither secrets nor texts that are made for it keep the node busy.
func TestRedactionOfHostileTexts(t *testing.T) {
	r := newSecrets()
	for i := range 8 {
		r.Learn("a", "S", strings.Repeat("a", picloud.MaxSecretSize-10)+strconv.Itoa(i))
	}
	text := strings.Repeat("a", 64<<10-1) + "c"
	r.Of("a").Text(text) // builds the search
	begin := time.Now()
	r.Of("a").Text(text)
	require.Less(t, time.Since(begin), time.Second)
}

func TestWhatIsHiddenIsBounded(t *testing.T) {
	r := newSecrets()
	for i := range maxHidden + 10 {
		r.Learn("a", "TOKEN", fmt.Sprintf("value-%06d", i))
	}
	x := r.Of("a")
	require.Len(t, x.order, maxHidden)
	require.Len(t, x.names, maxHidden)
	require.Equal(t, "value-000000 [secret TOKEN]", x.Text("value-000000 "+fmt.Sprintf("value-%06d", maxHidden+9)))
	for i := range 30 {
		r.Learn("b", "TOKEN", fmt.Sprintf("%06d", i)+strings.Repeat("x", picloud.MaxSecretSize-6))
	}
	require.LessOrEqual(t, r.Of("b").size, maxHiddenSize)
}

// Apps that were given no secret pay nothing for those that were.
func TestRedactionIsFreeWithoutSecrets(t *testing.T) {
	r := newSecrets()
	rec := picloud.LogRecord{Message: "a line", Fields: map[string]any{"n": int64(1)}}
	r.Learn("other", "TOKEN", "value-of-another-app")
	r.mu.Lock() // nor do they wait for somebody who learns
	defer r.mu.Unlock()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		x := r.Of("a")
		x.Text("/path")
		x.Record(&rec)
	}))
}

func BenchmarkRedaction(b *testing.B) {
	text := strings.Repeat("an ordinary line of a log, ", 4)
	r := newSecrets()
	b.Run("none", func(b *testing.B) {
		for b.Loop() {
			r.Of("a").Text(text)
		}
	})
	for i := range 20 {
		r.Learn("a", "TOKEN", fmt.Sprintf("%d-secret-value-of-some-length", i))
	}
	b.Run("20 secrets", func(b *testing.B) {
		for b.Loop() {
			r.Of("a").Text(text)
		}
	})
}

// TestBytesThatBecameTextAreHidden: bytes that are not UTF-8 are written as
// replacement characters, one for each byte or one for several in a row.
func TestBytesThatBecameTextAreHidden(t *testing.T) {
	const value = "\xff\xfe\x00binary-secret\xff"
	r := newSecrets()
	r.Learn("shop", "RAW", value)
	for _, text := range []string{value, strings.ToValidUTF8(value, "\uFFFD"), string([]rune(value))} {
		require.Equal(t, "the [secret RAW].", r.Of("shop").Text("the "+text+"."))
	}
}
