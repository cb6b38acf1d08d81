package risor

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNumbersThatDoNotFit asks for integers of what is none: a script gets an error that
// it can catch, on every processor.
func TestNumbersThatDoNotFit(t *testing.T) {
	for expression, want := range map[string]string{
		`int(json.parse("1e300"))`:   "int(): 1e+300 does not fit into 64 bits",
		`int(9223372036854775808.0)`: "int(): 9.223372036854776e+18 does not fit into 64 bits",
		`int(math.inf)`:              "does not fit into 64 bits",
		`int(math.nan)`:              "does not fit into 64 bits",
		`int(-1.0 * float("1e19"))`:  "does not fit into 64 bits",
		`byte(300.0)`:                "byte(): 300 is not between 0 and 255",
		`byte(-1.0)`:                 "is not between 0 and 255",
		`byte(300)`:                  "byte(): 300 is not between 0 and 255",
		`byte(-1)`:                   "byte(): -1 is not between 0 and 255",
		`bytes([1, 300])`:            "bytes(): 300 at index 1 is not between 0 and 255",
		`bytes([-1])`:                "bytes(): -1 at index 0 is not between 0 and 255",
		`bytes([math.nan])`:          "bytes(): NaN at index 0 is not between 0 and 255",
		`bytes([float("1e300")])`:    "at index 0 is not between 0 and 255",
		`9 ** 30`:                    "9 ** 30 does not fit into 64 bits; use float(9)",
		`2 ** 63`:                    "does not fit into 64 bits",
		`2 ** 64.0`:                  "2 ** 64 does not fit into 64 bits; use float(2)",
		`0 ** -1`:                    "does not fit into 64 bits",
		`1 << -1`:                    "a shift by -1, which is negative",
		`byte(1) >> -1`:              "a shift by -1, which is negative",
	} {
		call, err := invoke(t, "return try { string("+expression+") } catch (e) { e.message() }")
		require.NoError(t, err, expression)
		require.Contains(t, string(call.Response.Body), want, expression)
	}
	for expression, want := range map[string]string{
		`int(-9223372036854775807.0)`: "-9223372036854775808", `int(3.99)`: "3", `int("12")`: "12", `int(byte(255.9))`: "255", `int()`: "0", `bytes([0, 97.9, byte(255), "b"])[1:2]`: "a", `int(byte(255))`: "255",
		`3 ** 39`: "4052555153018976267", `7 ** 20`: "79792266297612001", `2 ** 62`: "4611686018427387904", `(-2) ** 63`: "-9223372036854775808",
		`5 ** 0`: "1", `0 ** 0`: "1", `2 ** -1`: "0", `2.0 ** 3`: "8", `(-1) ** 1000000001`: "-1",
		`1 << 64`: "0", `1 << 4294967296`: "0", `-8 >> 1`: "-4", `-8 >> 100`: "-1", `byte(3) << 2`: "12",
	} {
		call, err := invoke(t, "return string("+expression+")")
		require.NoError(t, err, expression)
		require.Equal(t, want, string(call.Response.Body), expression)
	}
}

// TestByteOrderMark reads what editors on Windows write.
func TestByteOrderMark(t *testing.T) {
	const mark = "\ufeff"
	p := mustCompile(t, mark+"function handle(req) { return req.json().a }")
	call := newCall()
	call.Request.Body = []byte(mark + `{"a": "one"}`)
	require.NoError(t, p.Invoke(call))
	require.Equal(t, "one", string(call.Response.Body))
	call, err := invoke(t, "return json.parse(\""+mark+"[1]\")")
	require.NoError(t, err)
	require.Equal(t, "[1]", string(call.Response.Body))
	_, err = Compile([]byte(mark + "function handle(req) { return 1 }\nlet a = foo"))
	require.Equal(t, 2, reasonOf(t, err).Line)
	_, err = Compile([]byte(mark + "let a = foo"))
	require.Equal(t, 9, reasonOf(t, err).Column)
}

// TestSpreadIntoNatives gives a native function more than 256 values of a list.
func TestSpreadIntoNatives(t *testing.T) {
	call, err := invoke(t, "let biggest = math.max\nreturn string(biggest(...list(range(300))))")
	require.NoError(t, err)
	require.Equal(t, "299", string(call.Response.Body))
	call, err = invoke(t, "let biggest = math.max\nreturn try { biggest(...list(range(20000))) } catch (e) { e.message() }")
	require.NoError(t, err)
	require.Contains(t, string(call.Response.Body), "max args limit of 16384 exceeded (got 20000)")
	call, err = invoke(t, "return try { throw \"x\" } catch (e) { e }")
	require.ErrorContains(t, err, "an error cannot be written as JSON; use its message()", call)
}
