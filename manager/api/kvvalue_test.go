package api

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/wire"
)

func TestValuesComeBackAsTheyWere(t *testing.T) {
	for body, want := range map[string]any{
		`null`: nil, `true`: true, `""`: "", `"<a> & \u00fc"`: "<a> & ü", `[]`: []any{}, `{}`: map[string]any{},
		`0`: int64(0), `-1`: int64(-1), `9007199254740993`: int64(9007199254740993),
		`9223372036854775807`: int64(math.MaxInt64), `-9223372036854775808`: int64(math.MinInt64),
		`0.1`: 0.1, `1.0`: 1.0, `1e300`: 1e300, `-2.5e-10`: -2.5e-10,
		`{"a":[1,1.0,"x",null,{"b":false}]}`: map[string]any{"a": []any{int64(1), 1.0, "x", nil, map[string]any{"b": false}}},
	} {
		encoded, err := encodeValue(mediaJSON, []byte(body))
		require.NoError(t, err, body)
		v, err := wire.Unmarshal(encoded)
		require.NoError(t, err)
		require.Equal(t, want, v, body)
		kind, out, err := decodeValue(encoded)
		require.NoError(t, err)
		require.Equal(t, mediaJSON, kind)
		again, err := encodeValue(mediaJSON, out)
		require.NoError(t, err)
		require.Equal(t, encoded, again, "%s came back as %s", body, out)
	}
	for kind, want := range map[media]any{mediaBytes: []byte("\xff<"), mediaText: "ü<"} {
		body := "\xff<"
		if kind == mediaText {
			body = "ü<"
		}
		encoded, err := encodeValue(kind, []byte(body))
		require.NoError(t, err)
		v, err := wire.Unmarshal(encoded)
		require.NoError(t, err)
		require.Equal(t, want, v)
	}
	_, out, err := decodeValue(must(encodeValue(mediaText, []byte("a<b\u2028"))))
	require.NoError(t, err)
	require.JSONEq(t, "\"a<b\u2028\"", string(out), "a string is a JSON string")
}

// What only scripts can make still has a form in JSON.
func TestValuesThatJSONHasNot(t *testing.T) {
	for want, v := range map[string]any{
		`null`:              math.NaN(),
		`[null,1e+21,-0.0]`: []any{math.Inf(-1), 1e21, math.Copysign(0, -1)},
		`{"b":"/w=="}`:      map[string]any{"b": []byte{0xff}},
	} {
		encoded, err := wire.Marshal(v)
		require.NoError(t, err)
		kind, out, err := decodeValue(encoded)
		require.NoError(t, err)
		require.Equal(t, mediaJSON, kind)
		require.Equal(t, want, string(out))
	}
	kind, out, err := decodeValue(must(wire.Marshal([]byte{0, 1})))
	require.NoError(t, err)
	require.Equal(t, mediaBytes, kind)
	require.Equal(t, []byte{0, 1}, out)
	_, _, err = decodeValue([]byte{0xff})
	require.Equal(t, picloud.CodeInternal, picloud.CodeOf(err))
}

func TestValuesThatAreRefused(t *testing.T) {
	deep := strings.Repeat("[", picloud.MaxKVDepth+1) + strings.Repeat("]", picloud.MaxKVDepth+1)
	_, err := encodeValue(mediaJSON, []byte(deep[1:2*picloud.MaxKVDepth+1]))
	require.NoError(t, err)
	for body, code := range map[string]picloud.Code{
		``: picloud.CodeInvalid, `{`: picloud.CodeInvalid, `1 2`: picloud.CodeInvalid, `hello`: picloud.CodeInvalid,
		`9223372036854775808`: picloud.CodeInvalid, `{"a":1,"a":2}`: picloud.CodeInvalid, `[1}`: picloud.CodeInvalid, `[1] x`: picloud.CodeInvalid, `[1e999]`: picloud.CodeInvalid, "\"\xff\"": picloud.CodeInvalid, deep: picloud.CodeInvalid,
		`[` + strings.Repeat("1,", 1<<16) + `1]`:            picloud.CodeInvalid,
		`"` + strings.Repeat("x", picloud.MaxKVValue) + `"`: picloud.CodeTooLarge,
	} {
		_, err := encodeValue(mediaJSON, []byte(body))
		require.Equal(t, code, picloud.CodeOf(err), picloud.Shorten(body, 40))
	}
	_, err = encodeValue(mediaText, []byte("\xff"))
	require.Equal(t, picloud.CodeInvalid, picloud.CodeOf(err))
	_, err = encodeValue(mediaBytes, make([]byte, picloud.MaxKVValue))
	require.Equal(t, picloud.CodeTooLarge, picloud.CodeOf(err), "its length counts too")
}

// FuzzValue: what is taken is readable for scripts, and comes back as JSON that
// is taken as the same.
func FuzzValue(f *testing.F) {
	f.Add([]byte(`{"a":[1,-0.0,1e-7,"\ud800",null]}`))
	f.Add([]byte(`12345678901234567890`))
	f.Add([]byte("\xa1\x61\x61\xf9\x7e\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if encoded, err := encodeValue(mediaJSON, body); err == nil {
			kind, out, err := decodeValue(encoded)
			require.NoError(t, err)
			require.Equal(t, mediaJSON, kind)
			require.True(t, json.Valid(out))
			again, err := encodeValue(mediaJSON, out)
			require.NoError(t, err)
			require.Equal(t, must(wire.Unmarshal(encoded)), must(wire.Unmarshal(again)))
		} else {
			require.Contains(t, []picloud.Code{picloud.CodeInvalid, picloud.CodeTooLarge}, picloud.CodeOf(err))
		}
		if kind, out, err := decodeValue(body); err == nil && kind == mediaJSON { // as a stored value
			require.True(t, json.Valid(out), "%q", out)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestValuesOfManySmallThings(t *testing.T) {
	row := "[" + strings.Repeat("{},", 9_999) + "{}]"
	body := []byte("[" + strings.Repeat(row+",", 24) + row + "]") // 250,000 empty objects
	encoded, err := encodeValue(mediaJSON, body)
	require.NoError(t, err)
	_, again, err := decodeValue(encoded)
	require.NoError(t, err)
	require.Equal(t, string(body), string(again))
}

// TestValuesOfEarlierVersions have maps in any order.
func TestValuesOfEarlierVersions(t *testing.T) {
	_, out, err := decodeValue([]byte("\xa2\x62bb\x81\xf9\x7e\x00\x61a\xfb\x40\x00\x00\x00\x00\x00\x00\x00"))
	require.NoError(t, err)
	require.Equal(t, `{"a":2.0,"bb":[null]}`, string(out)) //nolint:testifylint // the spelling counts: 2.0 stays a float
}
