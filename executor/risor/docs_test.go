package risor

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/risor/module"
	"github.com/picloud/picloud/executor/wire"
)

// claim is a line of an example with what it says that it gives.
var claim = regexp.MustCompile(`^(.*\S)\s+// → (.+)$`)

// proof makes a handler of an example: it returns, in JSON, what every line with
// a claim gives. The claims are returned beside it.
func proof(example string) (source string, claims []string) {
	var b strings.Builder
	b.WriteString("function handle(req) {\nlet given = []\n")
	for line := range strings.Lines(example) {
		m := claim.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			b.WriteString(line + "\n")
			continue
		}
		claims = append(claims, m[2])
		fmt.Fprintf(&b, "given.append(try { json.stringify(%s) } catch (e) { `error ${e.code ?? e.message()}` })\n", m[1])
	}
	return b.String() + "\nreturn given\n}", claims
}

// matches compares; … stands for anything.
func matches(claim, given string) bool {
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(claim), "…", ".*") + "$"
	return regexp.MustCompile(pattern).MatchString(given)
}

// withForm gives the call a form with a file.
func withForm(c *Call) {
	c.Request.Header = c.Request.Header.AppendPair("Content-Type", "multipart/form-data; boundary=XX")
	c.Request.Body = []byte(strings.Join([]string{
		"--XX", `Content-Disposition: form-data; name="title"`, "", "Tea", "--XX", `Content-Disposition: form-data; name="report"; filename="tea.csv"`, "Content-Type: text/csv", "", "id,name\n",
		"--XX--", "",
	}, "\r\n"))
}

// prove runs an example, and compares what its lines give with what they claim.
func prove(t *testing.T, example string) (claims []string) {
	require.NotEmpty(t, example)
	source, claims := proof(example)
	call := newCall()
	call.Host = newNode()
	call.Request.Base = []byte("/fn/default/hello")
	withForm(call)
	env, err := wire.Marshal(map[string]any{"GREETING": "hi", "LIMIT": "20"})
	require.NoError(t, err)
	call.Env = module.NewEnv(env)
	require.NoError(t, mustCompile(t, source).Invoke(call), source)
	var given []string
	require.NoError(t, json.Unmarshal(call.Response.Body, &given))
	require.Len(t, given, len(claims))
	for i := range claims {
		require.Truef(t, matches(claims[i], given[i]), "says %s, gives %s", claims[i], given[i])
	}
	return claims
}

// The methods of strings, lists and maps are Risor's: what the document says of them is tried out.
func TestMethodsInTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/functions.md")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(doc), "### Strings, lists and maps\n")
	table, rest, _ := strings.Cut(section, "```js\n")
	example, _, _ := strings.Cut(rest, "```")
	prove(t, example)
	for what, methods := range map[string][]object.AttrSpec{"string": object.NewString("").Attrs(), "list": object.NewList(nil).Attrs(), "map": object.NewMap(nil).Attrs()} {
		var names []string
		for _, m := range methods {
			names = append(names, m.Name)
		}
		slices.Sort(names)
		require.Contains(t, table, "| "+what+" | `"+strings.Join(names, "` `")+"` |\n")
	}
}

// Every example in the documentation works and gives what it says.
func TestModuleExamples(t *testing.T) {
	check := func(name, example string) {
		t.Run(name, func(t *testing.T) {
			claims := prove(t, example)
			if !strings.HasPrefix(name, "log.") {
				require.NotEmpty(t, claims, "an example says what it gives")
			}
		})
	}
	code := regexp.MustCompile(`^[a-z][a-z0-9_]+$`)
	documented := func(name string, f module.Function) {
		require.NotEmpty(t, f.Returns, f.Signature(name))
		for _, e := range f.Errors {
			require.Regexp(t, code, e.Code)
			require.NotEmpty(t, e.When)
		}
	}
	for _, m := range module.Modules() {
		require.NotEmpty(t, m.Doc)
		for _, f := range m.Functions {
			require.NotEmpty(t, f.Doc, f.Signature(m.Name))
			documented(m.Name, f)
			check(m.Name+"."+f.Name, f.Example)
		}
		for _, typ := range m.Types {
			require.NotEmpty(t, typ.Doc)
			require.Contains(t, typ.Example, "let "+typ.Self+" = ")
			check(typ.Name, typ.Example)
			for _, f := range typ.Members {
				documented(typ.Name, f)
				if len(f.Args) > 0 {
					check(typ.Name+"."+f.Name, f.Example)
				}
			}
		}
	}
}

func TestProofFindsWhatIsWrong(t *testing.T) {
	source, claims := proof("let a = 1\na + 1   // → 3\nkv.get(\"\")   // → \"…\"")
	require.Equal(t, []string{"3", `"…"`}, claims)
	call := newCall()
	call.Host = newNode()
	require.NoError(t, mustCompile(t, source).Invoke(call))
	require.JSONEq(t, `["2", "error kv_invalid_key"]`, string(call.Response.Body))
	require.False(t, matches("3", "2"))
	require.False(t, matches(`"…"`, "error x"))
	require.True(t, matches(`"0…-…"`, `"01-2"`))
}
