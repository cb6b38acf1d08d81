package risor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/wire"
)

func TestCompileErrors(t *testing.T) {
	const handler = "function handle(req) { return 1 }\n"
	for name, c := range map[string]struct {
		source       string
		message      string
		line, column int
		excerpt      string
	}{
		"undefined":           {handler + "let a = 1\n  let b = foo + 1", `undefined variable "foo"`, 3, 11, "  let b = foo + 1"},
		"did you mean":        {handler + "let x = jsno.parse(1)", `undefined variable "jsno"; did you mean "json"?`, 2, 9, "let x = jsno.parse(1)"},
		"did you mean ours":   {handler + "let total = 1\nlet y = totla", `undefined variable "totla"; did you mean "total"?`, 3, 9, "let y = totla"},
		"unexpected token":    {"function handle(req) {\n\treturn {a: }\n}", "invalid syntax", 2, 13, "\treturn {a: }"},
		"unclosed":            {"function handle(req) {\n  return 1\n", "unterminated", 3, 1, ""},
		"unterminated string": {handler + `let x = "abc`, "unterminated string literal", 2, 9, `let x = "abc`},
		"after a wide char":   {handler + "let é = \"漢字\" ?? )", `unexpected ")"`, 2, 17, "let é = \"漢字\" ?? )"},
		"loop":                {handler + "for (let i = 0; i < 3; i++) {}", `unexpected "let"`, 2, 6, "for (let i = 0; i < 3; i++) {}"},
		"defined twice":       {handler + "let a = 1\nlet b = 2\nlet a = 3", `variable "a" already exists`, 4, 1, "let a = 3"},
		"twice in a block":    {handler + "function f() {\n  let a = 1\n  if (a) {\n    let b = 1\n    let b = 2\n  }\n}", `variable "b" already exists`, 6, 5, "    let b = 2"},
		"function twice":      {handler + "function handle(req) { return 2 }", `function "handle" redefined`, 2, 1, "function handle(req) { return 2 }"},
		"constant":            {handler + "const a = 1\na = 2", `cannot assign to constant "a"`, 3, 1, "a = 2"},
		"return outside":      {handler + "return 1", "invalid return statement outside of a function", 2, 1, "return 1"},
		"method spread":       {handler + "let a = [1]\nmath.max(...a)", "a method cannot be called with a spread", 3, 10, "math.max(...a)"},
		"assigned argument":   {handler + "let n = 1\nlet f = x => x\nlet y = f(1, n = 5)", "an assignment has no value", 4, 14, "let y = f(1, n = 5)"},
		"counted argument":    {handler + "let n = 1\n  [].append(n++)", "an assignment has no value", 3, 13, "  [].append(n++)"},
		"added argument":      {handler + "let n = {a: 1}\nprint(n.a += 1)", "an assignment has no value", 3, 7, "print(n.a += 1)"},
		"set argument":        {handler + "let n = {a: 1}\nprint(n[\"a\"] = 1)", "an assignment has no value", 3, 0, ""},
		"in a template":       {handler + "let n = 1\n\nlet s = `n: ${string(n = 5)}`", "an assignment has no value", 4, 22, "let s = `n: ${string(n = 5)}`"},
		"name in a template":  {handler + "let s = `ü ${1} ${\nfoo}`", `undefined variable "foo"`, 3, 1, "foo}`"},
		"template's 2nd line": {handler + "let s = `a\nb ${foo}`", `undefined variable "foo"`, 3, 5, "b ${foo}`"},
		"template's 1st line": {handler + "let s = `ü ${1} ${foo}`", `undefined variable "foo"`, 2, 19, "let s = `ü ${1} ${foo}`"},
		"compiler panic":      {handler + "let x = ...[1]", "", 0, 0, ""},
		"import":              {"import math\n" + handler, "unexpected token", 1, 1, "import math"},
		"hash comment":        {handler + "# comment", "", 2, 1, "# comment"},
		"bad character":       {handler + "let a = 1 ~ 2", "unexpected character: '~'", 2, 11, "let a = 1 ~ 2"},
		"bad number":          {handler + "let a = [1,\n 12ab]", "invalid decimal literal: 12a", 3, 2, " 12ab]"},
		"bad identifier":      {handler + "let a\u2014b = 1", "invalid identifier: a\u2014", 2, 5, "let a\u2014b = 1"},
		"windows line end":    {"let a = foo\r\n" + handler, `undefined variable "foo"`, 1, 9, "let a = foo"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile([]byte(c.source))
			e := reasonOf(t, err)
			require.Equal(t, wire.ReasonScript, e.Reason)
			require.Contains(t, e.Message, c.message)
			if c.line > 0 && c.column > 0 {
				require.Equal(t, fmt.Sprintf("%d:%d %s", c.line, c.column, c.excerpt), fmt.Sprintf("%d:%d %s", e.Line, e.Column, e.Excerpt), e.Message)
			}
		})
	}
}

// TestAssignmentsInExpressions puts assignments where values belong: each is refused when
// it is compiled, with its place.
func TestAssignmentsInExpressions(t *testing.T) {
	for _, context := range []string{
		"len(%s)", "f(%s, 7)", "f(7, %s)", "[1].append(%s)", "[%s]", "[1, %s, 2]", "{a: %s}", "1 + (%s)", "(%s) + 1", "!(%s)", "-(%s)",
		"return %s", "throw %s", "let y = %s", "let y = (%s)", "n = (%s)", "m[%s]", "m[(%s):]", "m[1:(%s)]", "if (%s) { 1 }", "match (%s) { 1 => 2, _ => 3 }",
		"match 1 { 1 => %s, _ => 3 }", "(%s) ?? 1", "1 ?? (%s)", "true && (%s)", "(%s) || true", "(%s) in m", "1 in (%s)", "(%s) |> len", "`${%s}`",
		"f(...(%s))", "[...(%s)]", "{...(%s)}", "(%s).a", "(%s)?.a", "(%s)[0]", "f(x => (%s))", "let {a = %s} = m", "let [a = %s] = m", "f?.(%s)", "m?.f(%s)",
	} {
		for _, assignment := range []string{"n = 5", "n += 1", "n++", "n--", "m.a = 1", "m.a += 1", `m["a"] = 1`, `m["a"] *= 2`, "m.a++", `m["a"]--`} {
			source := "function handle(req) {\nlet n = 1\nlet m = {a: 1}\nlet f = (a, b) => a\n" + fmt.Sprintf(context, assignment) + "\nreturn 1\n}"
			_, err := Compile([]byte(source))
			if err == nil { // as a statement of its own it has its place
				require.Contains(t, []string{"return %s"}, context, source)
				continue
			}
			e := reasonOf(t, err)
			require.NotContains(t, e.Message, "verify", source)
			require.NotZero(t, e.Line, "%s: %s", source, e.Message)
		}
	}
}

func TestNoHandler(t *testing.T) {
	for _, source := range []string{"", "let x = 1", "function handel(req) {}", "function f() { let handle = 1 }", "// function handle(req) {}", "{handle: 1}"} {
		_, err := Compile([]byte(source))
		e := reasonOf(t, err)
		require.Equal(t, wire.ReasonScript, e.Reason, source)
		if source != "{handle: 1}" {
			require.Contains(t, e.Message, "function handle(req)", source)
		}
	}
}

func TestNotText(t *testing.T) {
	for source, want := range map[string]string{
		"let a = 1\nlet b = \"\xff\"":         "2:10 the script contains bytes that are not UTF-8",
		"let a = \"é\x00\"":                   "1:11 the script contains a NUL byte",
		"\xff\x00":                            "1:1 the script contains bytes that are not UTF-8",
		"function handle(req) {}\n\xc3":       "2:1 the script contains bytes that are not UTF-8",
		"\ufeff\ufefffunction handle(req) {}": "1:1 ",
		"function handle(req) {}\u0000bad":    "1:24 the script contains a NUL byte",
	} {
		_, err := Compile([]byte(source))
		e := reasonOf(t, err)
		require.Equal(t, wire.ReasonScript, e.Reason)
		require.Contains(t, fmt.Sprintf("%d:%d %s", e.Line, e.Column, e.Message), want)
	}
}

const tail = "\nfunction handle(req) { return 1 }"

func TestSourceBounds(t *testing.T) {
	for name, c := range map[string]struct {
		source, message string
		line, column    int
	}{
		"1 MB":                       {strings.Repeat("let a = 1\n", 100_000), "the script has 1000000 bytes, at most 65536 are allowed", 0, 0},
		"100,000 brackets":           {strings.Repeat("[", 100_000), "the script has 100000 bytes", 0, 0},
		"60,000 brackets":            {strings.Repeat("[", 60_000), "brackets are nested more than 500 deep", 1, 501},
		"501 brackets":               {strings.Repeat("(", 501) + "1" + strings.Repeat(")", 501) + tail, "brackets are nested more than 500 deep", 1, 501},
		"unary":                      {strings.Repeat("-", 1) + strings.Repeat(" -", 600) + " 1" + tail, "expressions are nested more than 500 deep", 1, 0},
		"501 names":                  {lines(501, "let a%d = 1"), "more than 500 names are defined at the top level", 501, 1},
		"501 functions":              {lines(501, "function f%d() {}"), "more than 500 names", 501, 1},
		"501 constants, one line":    {strings.ReplaceAll(lines(501, "const a%d = 1"), "\n", ";"), "more than 500 names", 1, 0},
		"251 pairs":                  {lines(251, "let a%d, b%[1]d = [1, 2]") + tail, "more than 500 names", 251, 1},
		"destructured":               {"let [" + strings.ReplaceAll(lines(501, "a%d"), "\n", ",") + "] = []" + tail, "more than 500 names", 1, 1},
		"2,001 sums":                 {"let x = 1" + strings.Repeat("+1", 2001) + tail, "an expression has more than 2000 operators", 1, 4008},
		"sums over lines":            {"let x = 1" + strings.Repeat("+\n1", 2001) + tail, "more than 2000 operators", 2000, 2},
		"nullish":                    {"let x = 1" + strings.Repeat("??1", 2100) + tail, "more than 2000 operators", 1, 0},
		"arrows":                     {"let x = " + strings.Repeat("a=>", 2100) + "1" + tail, "more than 2000 operators", 1, 0},
		"else if":                    {"if (1) {}" + strings.Repeat(" else if (1) {}", 1000) + tail, "more than 2000 operators", 1, 0},
		"else if over lines":         {"let x = if (1) {2}" + strings.Repeat("\nelse if (1) {2}", 1000) + tail, "more than 2000 operators", 0, 0},
		"attributes":                 {"let x = a" + strings.Repeat(".b", 2100) + tail, "more than 2000 operators", 1, 0},
		"attributes over lines":      {"let x = a" + strings.Repeat("\n  .b()", 1100) + tail, "more than 2000 operators", 0, 0},
		"calls":                      {"let x = f" + strings.Repeat("()", 2100) + tail, "more than 2000 operators", 1, 0},
		"indexes":                    {"let x = f" + strings.Repeat("[0]", 2100) + tail, "more than 2000 operators", 1, 0},
		"in a template":              {"let x = `${1" + strings.Repeat("+1", 2100) + "}`" + tail, "more than 2000 operators", 1, 9},
		"templates":                  {"let x = ``" + strings.Repeat("+`a`", 1100) + tail, "more than 2000 operators", 1, 0},
		"brackets and sums together": {"let x = " + strings.Repeat("(1"+strings.Repeat("+1", 20)+"+", 120) + "1" + strings.Repeat(")", 120) + tail, "more than 2000 operators", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Compile([]byte(c.source))
			e := reasonOf(t, err)
			require.Equal(t, wire.ReasonSourceBounds, e.Reason, e.Message)
			require.Contains(t, e.Message, c.message)
			if c.line > 0 && c.column > 0 {
				require.Equal(t, c.line, e.Line)
			}
			if c.column > 0 {
				require.Equal(t, c.column, e.Column)
			}
			require.LessOrEqual(t, len(e.Excerpt), maxExcerpt)
			require.Less(t, time.Since(start), time.Second)
		})
	}
}

// lines repeats a line with its number.
func lines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestWithinBounds(t *testing.T) {
	for name, source := range map[string]string{
		"500 names":          lines(499, "let a%d = 1") + tail,
		"2,000 operators":    "let x = 1" + strings.Repeat("+1", 1999) + tail,
		"a long table":       "let x = [" + strings.Repeat("{a: -1, b: 2 + 3},\n", 2000) + "]" + tail,
		"a long list":        "let x = [" + strings.Repeat("1,", 20_000) + "1]" + tail,
		"many statements":    "function f(a) {\n" + strings.Repeat("  a = a + 1 * 2\n", 2000) + "}" + tail,
		"many functions":     lines(400, "function f%d(a) { return a.map(x => x + 1).filter(x => x > 2) ?? [1] }") + tail,
		"brackets in text":   "let x = \"" + strings.Repeat("[", 2000) + "\"\n// " + strings.Repeat("(", 2000) + "\n/* " + strings.Repeat("{", 2000) + "\n*/ let y = `" + strings.Repeat("[", 2000) + "`" + tail,
		"400 brackets":       "let x = " + strings.Repeat("[", 400) + strings.Repeat("]", 400) + tail,
		"exactly 64 KiB":     "//" + strings.Repeat("x", MaxSource-2-len(tail)) + tail,
		"a long match":       "let f = x => match x {\n" + lines(900, "%d => \"a\" + \"b\",") + "\n_ => 1 }" + tail,
		"shebang":            "#!/usr/bin/env risor\nlet x = 1" + tail,
		"else if, some":      "let x = if (1) {2}" + strings.Repeat(" else if (1) {2}", 100) + " else {3}" + tail,
		"windows line ends":  strings.ReplaceAll(lines(400, "let a%d = 1 + 2"), "\n", "\r\n") + tail,
		"comments in a call": "let x = math.max( // [\n 1, /* ( */\n 2)" + tail,
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			p, err := Compile([]byte(source))
			require.NoError(t, err)
			require.NoError(t, p.Load(newCall()))
			require.Less(t, time.Since(start), 2*time.Second)
		})
	}
}

func TestKeywordsBehindDots(t *testing.T) {
	call, err := invoke(t, "let o = {\"match\": 1, \"in\": {\"if\": 2}, \"not\": f => f}\no.match += 1\nreturn [req.function, o?.in\n.if, o.match, o.not(3), regexp.match(\"a+\", \"caat\"), `${req.function}${o.in.if} .if}`, \".if .in\"]")
	require.NoError(t, err)
	require.Equal(t, `["hello",2,2,3,true,"hello2 .if}",".if .in"]`, string(call.Response.Body))

	_, err = invoke(t, "let o = {}\nreturn o.function.try")
	require.ErrorContains(t, err, `attribute "function" not found`)

	_, err = Compile([]byte("let é = x.if + .match\n"))
	e := reasonOf(t, err)
	require.Equal(t, 16, e.Column)
	require.NotContains(t, e.Message+e.Excerpt, string(rune(firstMask+7)))
	require.Equal(t, "let a = b.if.c `x.in ${y}`", undisguise.Replace(disguise("let a = b.if.c `x.in ${y}`")))
}

// FuzzBounds looks for sources that pass the bounds and keep the parser or the
// compiler busy, and for disagreements about what a source is.
func FuzzBounds(f *testing.F) {
	f.Add("let a = `${b.if}` // x\nfunction handle(req) { return {a, b: -1} }", 3)
	f.Add("x\n\n\n.y ?? (a => b)", 200)
	f.Add("if (a) { b } else if (c) { d }", 100)
	f.Add("'\\x41' + \"\\u00e9\" /* c */ ** 2", 50)
	f.Add("- - -a\n\n\n\n\n\n\n\n\n", 400)
	f.Add("let {a, b: c = 1} = x; match y { 1 => 2, _ => 3 }", 40)
	f.Add("try { throw 1 } catch (e) { } finally { }", 40)
	f.Fuzz(func(t *testing.T, piece string, times int) {
		times = min(max(times, 1), 2000)
		source := strings.Repeat(piece, times)
		if len(source) > MaxSource {
			source = source[:MaxSource]
		}
		require.Equal(t, []rune(strings.ToValidUTF8(source, "")), []rune(undisguise.Replace(disguise(strings.ToValidUTF8(source, "")))))
		start := time.Now()
		p, err := Compile([]byte(source))
		require.Less(t, time.Since(start), 4*time.Second)
		if err != nil {
			e := reasonOf(t, err)
			require.NotEmpty(t, e.Message)
			require.NotEqual(t, wire.ReasonNone, e.Reason)
			require.LessOrEqual(t, len(e.Excerpt), maxExcerpt)
			return
		}
		require.NotEmpty(t, p.Handlers())
	})
}
