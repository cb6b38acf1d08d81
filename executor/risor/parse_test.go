package risor

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhatDoesNotParse: the message says what is wrong, at the place where it is.
func TestWhatDoesNotParse(t *testing.T) {
	for line, want := range map[string]string{
		"(n = 5)":                             "2:4 " + noValue,
		"let x = {a: n = 5}":                  "2:15 " + noValue,
		"m[n++]":                              "2:4 " + noValue,
		"m[n = 2]":                            "2:5 " + noValue,
		"if (n = 5) { 1 }":                    "2:7 " + noValue,
		"if (n++) { 1 }":                      "2:6 " + noValue,
		"let y = n = 5":                       "2:11 " + noValue,
		"let y = n++":                         "2:10 " + noValue,
		"[1, n++]":                            "2:6 " + noValue,
		"x => n += 5":                         "2:8 " + noValue,
		"f((n = 5))":                          "2:6 " + noValue,
		"let /* c */ y = n /* d */ ++":        "2:27 " + noValue,
		"let f = (a, b = n = 5) => a":         "2:19 " + noValue,
		"let y = throw 5":                     `2:9 invalid syntax (unexpected "throw")`,
		"let {a} = throw 5":                   `2:11 invalid syntax (unexpected "throw")`,
		"let g = (a, b = [1]) => a":           "2:17 " + noDefault,
		"let g = (a, b = 1 + 1) => a":         "2:17 " + noDefault,
		"let g = (a, b = -a) => a":            "2:17 " + noDefault,
		"let t = `a\nb ${1 +} c`":             "3:8 invalid expression",
		"let t = `a ${m.x} ${1 2} b`":         `2:21 unexpected token "2" following statement`,
		"let t = `ä ${m.} b`":                 `2:16 expected an identifier after "."`,
		"let t = `a\n\n ${ f(1, } b`":         "4:10 invalid syntax",
		"let t = `a ${m.function} ${@} b`":    "2:28 invalid identifier: @",
		"let t = `${n = 5}`":                  "2:12 " + noValue,
		"let t = `${[n++]}`":                  "2:14 " + noValue,
		"let t = `a ${let q = 1} b`":          "2:14 a template's ${…} holds an expression, not a statement",
		"let t = `a ${1\n2} b`":               "3:1 a template's ${…} holds one expression",
		"let t = `a ${m.function m.match} b`": `2:16 unexpected token "m" following statement`,
	} {
		_, err := Compile([]byte("let n = 1; let m = {}; function f(a) { a }; function handle(req) {\n" + line + "\n}"))
		e := reasonOf(t, err)
		require.Equal(t, want, fmt.Sprintf("%d:%d %s", e.Line, e.Column, e.Message), line)
	}
}

func TestDefaultsCanBeNegative(t *testing.T) {
	call := newCall()
	require.NoError(t, mustCompile(t, "function f(a, b = -1, c = -2.5) { return [b, c, ((d = -3) => d)()] }\nfunction handle(req) { return f(0) }").Invoke(call))
	require.JSONEq(t, "[-1, -2.5, -3]", string(call.Response.Body))
}
