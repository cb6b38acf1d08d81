package strictjson

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, `1`, ` "a" `, `{"a":1,"b":{"a":1},"A":2}`, `[{"a":1},{"a":1}]`, `"\ud83d\ude00"`, `"\\ud800"`, `"a\"\\\/\b\n"`, `{"":1}`, `[true,false,null,-1.5e3]`,
	} {
		require.True(t, json.Valid([]byte(text)), text)
		require.NoError(t, Check([]byte(text)), text)
	}
	for text, want := range map[string]string{
		`{"a":1,"a":2}`:                     "a is given twice",
		`{"a":1,"\u0061":2}`:                "a is given twice",
		`{"a":[{"b":1},{"b":1 , "b" : 2}]}`: "a[1].b is given twice",
		`"\ud800"`:                          `has half of a surrogate pair, \ud800`,
		`{"a":"x\udc00"}`:                   `a has half of a surrogate pair, \udc00`,
		`["\ud800\u0041"]`:                  `[0] has half of a surrogate pair, \ud800`,
		`"\ud800\ud800"`:                    `has half of a surrogate pair`,
		`{"\ud800":1}`:                      `has half of a surrogate pair`,
		`{"a":{"` + strings.Repeat("x", 500) + `":{"b":1,"b":2}}}`: "x.b is given twice",
	} {
		require.True(t, json.Valid([]byte(text)), text)
		err := Check([]byte(text))
		require.ErrorContains(t, err, want, text)
		require.Less(t, len(err.Error()), 300)
	}
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	require.NoError(t, Check([]byte(deep)))
}

// FuzzCheck never panics, and finds a member that is there twice.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"\ud83d\ude00"],"b":{}}`, `{"a":1,"a":2}`, `"\u`, `{"a`, `[[`, `\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := Check([]byte(text)) // also of what is no JSON
		if !json.Valid([]byte(text)) {
			return
		}
		twice := Check([]byte(`{"n":` + text + `,"n":` + text + `}`))
		require.Error(t, twice)
		if err == nil {
			require.EqualError(t, twice, "n is given twice")
		}
	})
}
