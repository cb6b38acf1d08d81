package risor

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAndBeforeOr asks what && and || give together, as in every language around.
func TestAndBeforeOr(t *testing.T) {
	const names = "let [t, f] = [true, false]\nlet admin = true\nlet owner = false\nlet locked = true\n"
	for expression, want := range map[string]string{
		`admin || owner && !locked`:                              "true",
		`(admin || owner) && !locked`:                            "false",
		`f && f || t`:                                            "true",
		`f && (f || t)`:                                          "false",
		`t || t && f || f`:                                       "true",
		`1 == 1 || 2 == 2 && 3 == 4`:                             "true",
		`t || len("a" + ")") == 2 && f`:                          "true",
		`[t || t && f, f && f || t]`:                             "[true,true]",
		`{a: t || t && f, b: (t || t) && f}`:                     `{"a":true,"b":false}`,
		`if (admin || owner && !locked) { "yes" } else { "no" }`: "yes",
		"`${t || t && f} ${(t || t) && f} ${t}`":                 "true false true",
		"`é ${f && f || t} 漢 ${t || f && f}`":                    "é true 漢 true",
		"t || `${f}` == \"true\" && f":                           "true",
		`(x => x || t && f)(true)`:                               "true",
		`[t].filter(x => x || t && f)`:                           "[true]",
		`null ?? t || t && f`:                                    "true",
		`t || (t || t && f) && f`:                                "true",
		`(t || t && f) && (f || t && f)`:                         "false",
		`t || f && throwing()`:                                   "true",
		`1 || 2 && 0`:                                            "1",
		`0 || 2 && 3`:                                            "3",
		"t ||\n  t &&\n  f":                                      "true",
		"t /* ( */ || t && f":                                    "true",
		"t || t /* ) */ && f":                                    "true",
		"(t /* é\n*/ || t) /* */ && f":                           "false",
		"t || /* c */ t && /* c */ f":                            "true",
		"t || // c\n /* c */ t /**/ && // c\n f":                 "true",
		"`${t /* c */ || t /* c */ && f}`":                       "true",
	} {
		call, err := invoke(t, names+`let throwing = () => { throw "called" }`+"\nreturn {body: "+expression+"}")
		require.NoError(t, err, expression)
		require.Equal(t, want, string(call.Response.Body), expression)
	}
}

// TestAndBeforeOrAtRandom compares random chains with Go's own operators.
func TestAndBeforeOrAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1)) // the same chains each time
	for range 30 {
		var texts []string
		var want []bool
		for range 40 {
			text, value := chain(r, 3)
			texts, want = append(texts, text), append(want, value)
		}
		call, err := invoke(t, "return ["+strings.Join(texts, ",\n")+"]")
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll(fmt.Sprint(want), " ", ","), string(call.Response.Body), "%s", texts)
	}
}

// chain makes an expression and its value.
func chain(r *rand.Rand, depth int) (string, bool) {
	operand := func() (string, bool) {
		switch n := r.IntN(8); {
		case n < 2 && depth > 0:
			text, value := chain(r, depth-1)
			return "(" + text + ")", value
		case n == 2 && depth > 0:
			text, value := chain(r, depth-1)
			return "!(" + text + ")", !value
		case n == 3 && depth > 0:
			text, value := chain(r, 0) // without a template, which cannot be in another
			return "`${" + text + "}` == 'true'", value
		}
		if r.IntN(2) == 0 {
			return "true", true
		}
		return "1 > 2", false
	}
	or := false
	text, and := operand()
	for range r.IntN(5) {
		next, value := operand()
		if r.IntN(2) == 0 {
			text, and = text+" && "+next, and && value
		} else {
			text, or, and = text+" || "+next, or || and, value
		}
	}
	return text, or || and
}
