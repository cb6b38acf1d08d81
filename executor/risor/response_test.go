package risor

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/executor/wire"
)

// headersOf lists "name: value" in the order in which they are sent.
func headersOf(r *Response) (out []string) {
	for name, value := range r.Header.All() {
		out = append(out, string(name)+": "+string(value))
	}
	return out
}

func TestResponses(t *testing.T) {
	const text, data, octets = "content-type: text/plain; charset=utf-8", "content-type: application/json", "content-type: application/octet-stream"
	for name, c := range map[string]struct {
		body   string
		status int
		header []string
		want   string
	}{
		"string":                  {`return "héllo"`, 200, []string{text}, "héllo"},
		"empty string":            {`return ""`, 200, []string{text}, ""},
		"bytes":                   {`return bytes([0, 255, 7])`, 200, []string{octets}, "\x00\xff\x07"},
		"null":                    {`return null`, 204, nil, ""},
		"nothing":                 {`let x = 1`, 204, nil, ""},
		"number":                  {`return 9223372036854775807`, 200, []string{data}, "9223372036854775807"},
		"float":                   {`return [1.0, 0.1, 10.0 ** 21, 0.0000001, -1.5]`, 200, []string{data}, "[1,0.1,1e+21,1e-7,-1.5]"},
		"bool":                    {`return false`, 200, []string{data}, "false"},
		"list":                    {`return [1, "a", null, [], {}]`, 200, []string{data}, `[1,"a",null,[],{}]`},
		"map":                     {`return {b: 1, a: "<&>\"\\\n\u0001é"}`, 200, []string{data}, `{"a":"<&>\"\\\n\u0001é","b":1}`},
		"range":                   {`return range(3)`, 200, []string{data}, "[0,1,2]"},
		"iterator":                {`return {a: 1}.keys()`, 200, []string{data}, `["a"]`},
		"envelope":                {`return {status: 201, headers: {"x-hi": "1", "X-N": 5, "set-cookie": ["a=1", "b=2"]}, body: {a: 1}}`, 201, []string{"x-n: 5", "set-cookie: a=1", "set-cookie: b=2", "x-hi: 1", data}, `{"a":1}`},
		"envelope of a string":    {`return {body: "x"}`, 200, []string{text}, "x"},
		"envelope of bytes":       {`return {status: 200, body: bytes("x")}`, 200, []string{octets}, "x"},
		"envelope without a body": {`return {status: 404}`, 404, nil, ""},
		"envelope, null body":     {`return {status: 304, body: null, headers: null}`, 304, nil, ""},
		"envelope, typed":         {`return {headers: {"Content-Type": "text/html"}, body: "<b>"}`, 200, []string{"content-type: text/html"}, "<b>"},
		"data with a status":      {`return {status: "ok"}`, 200, []string{data}, `{"status":"ok"}`},
		"data with more":          {`return {status: 404, message: "no"}`, 200, []string{data}, `{"message":"no","status":404}`},
		"data, headers only":      {`return {headers: {}}`, 200, []string{data}, `{"headers":{}}`},
		"the request":             {`return req`, 200, []string{data}, `{"app":"default","base":"","client_ip":"192.0.2.7","function":"hello","headers":{},"id":"01X","method":"GET","params":{},"path":"/","query":{},"raw_path":"/","route":"","version":3}`},
		"shared, not cyclic":      {`let a = [1]; return [a, a, {a}]`, 200, []string{data}, `[[1],[1],{"a":[1]}]`},
	} {
		t.Run(name, func(t *testing.T) {
			call, err := invoke(t, c.body)
			require.NoError(t, err)
			require.Equal(t, c.status, call.Response.Status)
			require.ElementsMatch(t, c.header, headersOf(&call.Response))
			require.NoError(t, call.Response.Header.Check())
			require.Equal(t, c.want, string(call.Response.Body))
		})
	}
}

func TestUnusableResponses(t *testing.T) {
	for name, c := range map[string]struct{ body, message string }{
		"function":           {`return handle`, "handle returned no data: a function has no form in JSON"},
		"builtin":            {`return len`, "handle returned no data: a function has no form in JSON"},
		"module":             {`return math`, "handle returned no data: a function has no form in JSON"},
		"error":              {`return error("x")`, "handle returned no data: an error has no form in JSON; use its message()"},
		"function inside":    {`return {a: [1, {b: x => x}]}`, "handle returned no data, at a[1].b: a function has no form in JSON"},
		"bytes inside":       {`return [bytes("x")]`, `handle returned no data, at [0]: bytes have no form in JSON; use string(b) or encode(b, "base64")`},
		"regexp":             {`return regexp.compile("a")`, "handle returned no data: a value of type regexp has no form in JSON"},
		"cycle":              {`let a = [1]; a.append(a); return a`, "handle returned no data, at [1][1]"},
		"cyclic map":         {`let a = {}; a["a"] = a; return a`, "nested more than 500 deep, or contains itself"},
		"deep":               {`let a = []; range(600).each(i => { a = [a] }); return a`, "nested more than 500 deep"},
		"NaN":                {`return {x: math.nan}`, "handle returned no data, at x: NaN and infinities have no form in JSON"},
		"infinity":           {`return -math.inf`, "NaN and infinities"},
		"text, not UTF-8":    {`return string(bytes([255]))`, "handle returned a string that is not UTF-8; return bytes instead"},
		"JSON, not UTF-8":    {`return {x: string(bytes([97, 255]))}`, "at x: text is not UTF-8"},
		"key, not UTF-8":     {`let m = {}; m[string(bytes([255]))] = 1; return m`, "text is not UTF-8"},
		"body function":      {`return {body: {f: x => x}}`, "body is no data, at f: a function has no form in JSON"},
		"status too small":   {`return {status: 199}`, "status is a number from 200 to 599, not 199"},
		"status too large":   {`return {status: 600, body: 1}`, "not 600"},
		"status float":       {`return {status: 200.5}`, "not 200.5"},
		"status text":        {`return {status: "200", body: 1}`, `not "200"`},
		"headers list":       {`return {status: 200, headers: ["x"]}`, "headers is a map, not a list"},
		"header line break":  {`return {status: 200, headers: {x: "a\r\nset-cookie: b"}}`, `header "x" is a string without line breaks, a number, or a list of them, not "a\r\nset-cookie: b"`},
		"header null":        {`return {status: 200, headers: {x: null}}`, `not null`},
		"header nested":      {`return {status: 200, headers: {x: [["a"]]}}`, `not a list`},
		"header not UTF-8":   {`return {status: 200, headers: {x: string(bytes([255]))}}`, `header "x" is`},
		"header name":        {`return {status: 200, headers: {"a b": "1"}}`, `header "a b" is not a valid name`},
		"header name break":  {`return {status: 200, headers: {"a\r\nb": "1"}}`, `header "a\r\nb" is not a valid name`},
		"header name empty":  {`return {status: 200, headers: {"": "1"}}`, `header "" has no name`},
		"header of server":   {`return {status: 200, headers: {"Content-Length": 3}, body: "x"}`, `header "Content-Length" is set by the server`},
		"too many headers":   {`return {status: 200, headers: {x: list(range(300))}}`, "more than 256 headers"},
		"too large headers":  {`return {status: 200, headers: {x: "y".repeat(70000)}}`, "more than 256 headers, or 65536 bytes"},
		"204 with a body":    {`return {status: 204, body: "x"}`, "status 204 has no body"},
		"304 with JSON body": {`return {status: 304, body: []}`, "status 304 has no body"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := invoke(t, c.body)
			e := reasonOf(t, err)
			require.Equal(t, wire.ReasonResponse, e.Reason, e.Message)
			require.Contains(t, e.Message, c.message)
			require.LessOrEqual(t, len(e.Message), maxMessage)
		})
	}
}

func TestResponseTooLarge(t *testing.T) {
	for name, body := range map[string]string{
		"string":       `return "x".repeat(1001)`,
		"bytes":        `return bytes("x".repeat(1001))`,
		"JSON string":  `return ["x".repeat(999)]`,
		"list":         `return list(range(1000))`,
		"range":        `return range(1000000000)`,
		"DAG":          `let a = [1]; range(60).each(i => { a = [a, a] }); return a`,
		"map":          `let m = {}; range(300).each(i => { m[string(i)] = i }); return m`,
		"only the end": `return ["x".repeat(997)]`,
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			call, err := invoke(t, body, func(c *Call) { c.MaxResponse = 1000 })
			e := reasonOf(t, err)
			require.Equal(t, wire.ReasonResponseTooLarge, e.Reason)
			require.Equal(t, "the response body has more than 1000 bytes", e.Message)
			require.Less(t, cap(call.Response.buf), 1<<20)
			require.Less(t, time.Since(start), 5*time.Second)
		})
	}
	for _, fits := range []string{`return "x".repeat(1000)`, `return ["x".repeat(996)]`} {
		call, err := invoke(t, fits, func(c *Call) { c.MaxResponse = 1000 })
		require.NoError(t, err)
		require.Len(t, call.Response.Body, 1000)
	}
}

func TestBodyMayAliasTheRequest(t *testing.T) {
	call, err := invoke(t, `return req.body`, func(c *Call) { c.Request.Body = []byte("raw") })
	require.NoError(t, err)
	require.Equal(t, "raw", string(call.Response.Body))
}

func TestResetKeepsLittle(t *testing.T) {
	call, err := invoke(t, `return "x".repeat(1000000)`)
	require.NoError(t, err)
	call.Reset()
	require.Nil(t, call.Response.buf)
	require.Equal(t, Call{Response: call.Response}, *call)
}

// FuzzResponse feeds the conversion with values that JSON texts describe, with
// some of their strings turned into what is harder.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		`null`, `"x"`, `{"status":200,"body":{"a":[1,2.5,"é"]}}`, `{"status":700}`, `[[[[]]],{"bytes":1}]`,
		`{"headers":{"a":"b","c":["d",1]},"body":"bytes:x"}`, `{"headers":{"a\r\n":"b"},"status":200}`, `{"a":"error:1","b":"func"}`,
	} {
		f.Add(seed, 100)
	}
	f.Fuzz(func(t *testing.T, text string, limit int) {
		v, err := data.ReadJSON(text)
		if err != nil {
			return
		}
		limit = min(max(limit, 1), 10_000)
		var r Response
		fault := r.fill(harden(v), limit)
		if fault != nil {
			require.Contains(t, []wire.Reason{wire.ReasonResponse, wire.ReasonResponseTooLarge}, fault.Reason)
			require.NotEmpty(t, fault.Message)
			require.LessOrEqual(t, len(fault.Message), maxMessage)
			return
		}
		require.LessOrEqual(t, len(r.Body), limit)
		require.True(t, r.Status >= 200 && r.Status <= 599, r.Status)
		require.NoError(t, r.Header.Check())
		contentType := ""
		for name, value := range r.Header.All() {
			require.NotContains(t, string(name)+string(value), "\n")
			require.NotContains(t, string(name)+string(value), "\r")
			require.Equal(t, strings.ToLower(string(name)), string(name))
			if string(name) == "content-type" {
				contentType = string(value)
			}
		}
		if contentType == typeJSON && !strings.Contains(text, "content") {
			require.True(t, json.Valid(r.Body), "%q", r.Body)
		}
	})
}
