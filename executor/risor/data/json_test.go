package data

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/hostcall"
)

func valid(s string) bool { return utf8.ValidString(s) }

func mustString(t testing.TB, v object.Object) string {
	t.Helper()
	s, ok := v.(*object.String)
	require.True(t, ok, v.Inspect())
	return s.Value()
}

func writeJSON(v object.Object) (string, error) {
	w := JSONWriter{Limit: 1 << 20}
	err := w.Write(v)
	return string(w.Buf), err
}

func TestReadJSON(t *testing.T) {
	for text, want := range map[string]string{
		`1`: "1", `-0`: "-0", `9223372036854775807`: "9223372036854775807", `-9223372036854775808`: "-9223372036854775808",
		`9223372036854775808`: "9223372036854776000", `1.0`: "1", `1e3`: "1000", `-1.5E-2`: "-0.015",
		` [ ] `: "[]", `{ }`: "{}", "[1,\n2]": "[1, 2]", `{"a":1,"a":2}`: `{"a": 2}`, `true`: "true", `null`: "null",
		`"a\"\\\/\b\f\n\r\té\u00e9\ud83d\ude00"`: `"a\"\\/\b\f\n\r\téé😀"`, `"\ud83dx"`: `"�x"`, `"\ude00"`: `"�"`, `"\ud83d\ud83d\ude00"`: `"�😀"`,
	} {
		v, err := ReadJSON(text)
		require.NoError(t, err, text)
		require.Equal(t, want, v.Inspect(), text)
	}
	_, ok := must(ReadJSON(`1.0`)).(*object.Float)
	require.True(t, ok)
	_, ok = must(ReadJSON(`9223372036854775808`)).(*object.Float)
	require.True(t, ok)
}

func must(v object.Object, err error) object.Object {
	if err != nil {
		panic(err)
	}
	return v
}

func TestReadBrokenJSON(t *testing.T) {
	for text, want := range map[string]string{
		``: "1:1: it ends before a value", `{`: "1:2: it ends before a name in quotes", `[1`: "1:3: it ends before ',' or ']'", `[1,]`: "1:4: unexpected ']' instead of a value",
		`{"a"}`: "1:5: unexpected '}' instead of ':'", `{a:1}`: "1:2: unexpected 'a'", `01`: "1:2: unexpected '1' after the value", `+1`: "1:1", `1.`: "1:3", `.5`: "1:1",
		`1e`: "1:3", `-`: "1:2", `nul`: "1:1", `truex`: "1:5", `"a`: "1:3: it ends in a string", "\"a\nb\"": `1:3: unexpected '\n' in a string`, `"\x"`: "1:3: unexpected 'x' behind a backslash",
		`"\u12"`: "in \\uXXXX", `"\u12g4"`: "in \\uXXXX", "\"\xff\"": "text is not UTF-8", "\"\\n\xff\"": "text is not UTF-8", "1\n  é": "2:3: unexpected 'é'", `1e999`: "the number does not fit",
		strings.Repeat("[", 501) + strings.Repeat("]", 501): "nested more than 500 deep", `[1 2]`: "1:4: unexpected '2' instead of ',' or ']'", "1\ufeff": "1:2", "\ufeff\ufeff1": "1:4",
		`"\`: "it ends in a string", strings.Repeat("[", 100_000): "nested more than 500 deep", `{"a":1`: "it ends before ',' or '}'",
	} {
		_, err := ReadJSON(text)
		var e *hostcall.Error
		require.ErrorAs(t, err, &e, text)
		require.Equal(t, "json_invalid", e.Code)
		require.Contains(t, e.Message, want, text)
	}
	v, err := ReadJSON(strings.Repeat("[", 500) + strings.Repeat("]", 500))
	require.NoError(t, err)
	_, err = writeJSON(v)
	require.NoError(t, err)
}

func TestFloats(t *testing.T) {
	for _, f := range []float64{0, math.Copysign(0, -1), 1, 0.1, 1e20, 1e21, 1e-6, 1e-7, 1.7976931348623157e308, 5e-324, -2.5, 123456789.125, 1e100} {
		want, err := json.Marshal(f)
		require.NoError(t, err)
		got, err := writeJSON(object.NewFloat(f))
		require.NoError(t, err)
		require.Equal(t, string(want), got)
	}
}

// FuzzJSON compares with encoding/json: both accept the same texts, and what we
// write is read by it as the same value.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5,-0,1e5,"é\u00e9\ud83d"],"b":{"":null}}`, `[true,false]`, `"\u2028<>&"`, `1e400`, `[[[`, "\"\x7f\xff\"", `{"a":1,"a":{}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ReadJSON(text)
		same, _ := ReadJSON([]byte(text))
		if err != nil {
			require.Nil(t, same)
			if valid(text) && strings.Count(text, "[")+strings.Count(text, "{") <= 500 {
				var any any
				require.Error(t, json.Unmarshal([]byte(text), &any), "%q: %v", text, err)
			}
			return
		}
		require.True(t, json.Valid([]byte(text)), "%q", text)
		out, err := writeJSON(v)
		if err != nil {
			require.ErrorIs(t, err, errJSONTooLarge)
			return
		}
		require.True(t, json.Valid([]byte(out)), "%q", out)
		var want, got any
		if json.Unmarshal([]byte(text), &want) == nil {
			require.NoError(t, json.Unmarshal([]byte(out), &got))
			require.Equal(t, want, got, "%q", text)
		}
		again, err := ReadJSON(out)
		require.NoError(t, err)
		twice, err := writeJSON(again)
		require.NoError(t, err)
		require.Equal(t, out, twice)
	})
}
