package risor

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/wire"
)

// upstream is what another server answers, line by line.
func upstream(status int, body string, lines ...string) func(*Call) {
	pairs := []any{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		pairs = append(pairs, []any{name, value})
	}
	return func(c *Call) {
		c.Host = &recorder{answer: map[string]any{"status": int64(status), "url": "http://u/", "headers": pairs, "body": []byte(body)}}
	}
}

func method(name string) func(*Call) {
	return func(c *Call) { c.Request.Method = []byte(name) }
}

var framed = []string{
	"connection: keep-alive, X-Hop", "content-length: 5", "content-type: text/plain", "keep-alive: timeout=5", "proxy-authenticate: Basic",
	"proxy-connection: close", "set-cookie: a=1; Path=/; Expires=Wed, 09 Jun 2027 10:18:14 GMT", "set-cookie: b=2; Path=/; HttpOnly", "te: trailers", "trailer: X-Sum",
	"transfer-encoding: chunked", "upgrade: h2c", "vary: a", "vary: b", "www-authenticate: Basic realm=\"x\"", "www-authenticate: Bearer", "x-hop: 1",
}

// What an upstream answered can be passed on however it was framed.
func TestAnswersArePassedOn(t *testing.T) {
	cookies := []string{"set-cookie: a=1; Path=/; Expires=Wed, 09 Jun 2027 10:18:14 GMT", "set-cookie: b=2; Path=/; HttpOnly"}
	apart := append([]string{"content-type: text/plain"}, append(cookies, "vary: a", "vary: b", "www-authenticate: Basic realm=\"x\"", "www-authenticate: Bearer")...)
	joined := append([]string{"content-type: text/plain"}, append(cookies, "vary: a, b", "www-authenticate: Basic realm=\"x\", Bearer")...)
	for name, c := range map[string]struct {
		script string
		want   []string
	}{
		"itself":     {`return r`, apart},
		"as it is":   {`return {status: r.status, headers: r.headers, body: r.body}`, apart},
		"a copy":     {`return {status: r.status, headers: r.headers.copy(), body: r.body}`, joined},
		"spread":     {`return {status: r.status, headers: {...r.headers}, body: r.body}`, joined},
		"entries":    {`let h = {}; r.headers.entries().each(e => { h[e[0]] = e[1] }); return {status: r.status, headers: h, body: r.body}`, joined},
		"each":       {`let h = {}; r.headers.each((k, v) => { h[k] = v }); return {status: r.status, headers: h, body: r.body}`, joined},
		"keys":       {`let h = {}; r.headers.keys().each(k => { h[k] = r.headers.all(k) }); return {status: r.status, headers: h, body: r.body}`, apart},
		"one cookie": {`return {status: r.status, headers: {"set-cookie": r.headers["set-cookie"], "content-type": "text/plain"}, body: r.body}`, append([]string{"content-type: text/plain"}, cookies...)},
	} {
		t.Run(name, func(t *testing.T) {
			call, err := invoke(t, "let r = http.get(\"http://u/\")\n"+c.script, upstream(201, "hello", framed...))
			require.NoError(t, err)
			require.Equal(t, 201, call.Response.Status)
			require.Equal(t, "hello", string(call.Response.Body))
			require.ElementsMatch(t, c.want, headersOf(&call.Response))
		})
	}

	call, err := invoke(t, `let r = http.get("http://u/"); return {body: [r.headers["content-length"], r.headers.connection, r.headers.get("x-hop"), "connection" in r.headers]}`, upstream(200, "hello", framed...))
	require.NoError(t, err)
	require.JSONEq(t, `["5","keep-alive, X-Hop","1",true]`, string(call.Response.Body), "what is not passed on can still be read")

	call, err = invoke(t, `let r = http.get("http://u/"); return {status: r.status, headers: r.headers, body: r.body}`, upstream(304, "", "content-length: 5", "etag: x"))
	require.NoError(t, err)
	require.Equal(t, []string{"etag: x"}, headersOf(&call.Response), "no body, no type")

	call, err = invoke(t, `let r = http.get("http://u/"); return {headers: r.headers, body: r.text()}`, upstream(200, "ü", "content-type: text/html"))
	require.NoError(t, err)
	require.Equal(t, []string{"content-type: text/html; charset=utf-8"}, headersOf(&call.Response))

	call, err = invoke(t, `let r = http.get("http://u/"); return {headers: r.headers, body: r.body}`, func(c *Call) {
		c.Host = &recorder{answer: map[string]any{"headers": []any{[]any{"x-name", []byte("b\xe4r")}}}}
	})
	require.NoError(t, err)
	require.Contains(t, headersOf(&call.Response), "x-name: b\xe4r", "byte by byte")

	for _, bad := range []string{`{connection: "close"}`, `{"Content-Length": 5}`, `{"transfer-encoding": "chunked"}`} {
		_, err = invoke(t, `return {headers: `+bad+`, body: "hello"}`)
		require.Contains(t, reasonOf(t, err).Message, "is set by the server, not by functions", "set by hand")
	}
}

// An answer to HEAD states the length that GET would have.
func TestHeadStatesALength(t *testing.T) {
	for script, want := range map[string][]string{
		`return {status: 200, headers: {"content-length": 1000}}`:             {"content-length: 1000"},
		`return {status: 200, headers: {"Content-Length": "1000"}, body: ""}`: {"content-length: 1000", "content-type: text/plain; charset=utf-8"},
		`return {status: 200}`: nil,
		`let r = http.fetch("http://u/", {method: req.method}); return {status: r.status, headers: r.headers, body: ""}`: {"content-length: 5", "content-type: text/html; charset=utf-8"},
	} {
		call, err := invoke(t, script, method("HEAD"), upstream(200, "", "content-length: 5", "content-type: text/html"))
		require.NoError(t, err, script)
		require.ElementsMatch(t, want, headersOf(&call.Response), script)
	}
	for script, want := range map[string]string{
		`return {status: 200, headers: {"content-length": "5, 5"}}`:       "must be a number of bytes",
		`return {status: 200, headers: {"content-length": -1}}`:           "must be a number of bytes",
		`return {status: 200, headers: {"content-length": 5}, body: "x"}`: "only an answer to HEAD without a body may state it",
	} {
		_, err := invoke(t, script, method("HEAD"))
		require.Contains(t, reasonOf(t, err).Message, want, script)
	}
}

func TestCharset(t *testing.T) {
	for given, want := range map[string]string{
		"text/html": "text/html; charset=utf-8", "TEXT/CSV; header=present": "TEXT/CSV; header=present; charset=utf-8", "text/html;": "text/html; charset=utf-8",
		"application/json": "application/json; charset=utf-8", "application/javascript": "application/javascript; charset=utf-8",
		"image/svg+xml": "image/svg+xml; charset=utf-8", "application/xml": "application/xml; charset=utf-8",
		"text/html; charset=iso-8859-1": "text/html; charset=iso-8859-1", "text/html; Charset=\"UTF-8\"": "text/html; Charset=\"UTF-8\"",
		"application/vnd.api+json": "application/vnd.api+json", "image/png": "image/png", "application/octet-stream": "application/octet-stream",
	} {
		require.Equal(t, want, withCharset(given))
	}
	call, err := invoke(t, `return {headers: {"content-type": "text/html"}, body: bytes("x")}`)
	require.NoError(t, err)
	require.Equal(t, []string{"content-type: text/html"}, headersOf(&call.Response), "nobody knows what bytes are")

	_, err = invoke(t, `return {headers: {"content-type": ["text/html", "text/plain"]}, body: "x"}`)
	require.Contains(t, reasonOf(t, err).Message, `header "content-type" has one value`)
}

// What a request brought can be passed on too, but for what belongs to its connection.
func TestRequestsArePassedOn(t *testing.T) {
	with := func(c *Call) {
		for _, line := range append(framed, "Host: here", "Accept-Encoding: br", "Authorization: Bearer x", "X-Two: 1", "X-Two: 2") {
			name, value, _ := strings.Cut(line, ": ")
			c.Request.Header = c.Request.Header.AppendPair(name, value)
		}
		c.Host = newNode()
	}
	for headers, two := range map[string]string{`req.headers`: `["x-two","1"],["x-two","2"]`, `req.headers.copy()`: `["x-two","1, 2"]`, `{...req.headers, "x-new": "1"}`: `["x-two","1, 2"]`} {
		call, err := invoke(t, `return http.fetch("https://api.example.org/echo", {headers: `+headers+`, body: req.body}).json().headers`, with)
		require.NoError(t, err)
		body := string(call.Response.Body)
		for _, name := range []string{"host", "connection", "content-length", "x-hop", "te", "accept-encoding", "proxy-authenticate"} {
			require.NotContains(t, body, `"`+name+`"`, headers)
		}
		require.Contains(t, body, `["authorization","Bearer x"]`)
		require.Contains(t, body, two, headers)
		require.Equal(t, 1, strings.Count(body, "content-type"))
	}
	call, err := invoke(t, `return ["host" in req.headers, "host" in req.headers.keys(), json.parse(json.stringify(req.headers)).host, req.headers.connection]`, with)
	require.NoError(t, err)
	require.JSONEq(t, `[true,true,"here","keep-alive, X-Hop"]`, string(call.Response.Body), "they can still be read")
}

func TestCookies(t *testing.T) {
	call, err := invoke(t, `return [req.cookies.a, req.cookies["b"], req.cookies.none, req.cookies.get("none", 1), req.cookies.all("a"), req.cookies.keys(), req.cookies, "a" in req.cookies, req.cookies.q, req.cookies.A]`, func(c *Call) {
		c.Request.Header = wire.Pairs{}.AppendPair("Accept", "a=9").AppendPair("Cookie", `a=1;  b = x=y ; a=2; lonely; =none; q="a b"`).AppendPair("cookie", "c=é%20; a=3")
	})
	require.NoError(t, err)
	require.JSONEq(t, `["1","x=y",null,1,["1","2","3"],["a","b","c","q"],{"a":"1","b":"x=y","c":"é%20","q":"a b"},true,"a b",null]`, string(call.Response.Body))
}

// No name, value or option of a cookie puts anything else into the header.
func TestCookieHelper(t *testing.T) {
	base := func(c *Call) { c.Request.Base = []byte("/fn/shop/cart") }
	for script, want := range map[string]string{
		`http.cookie("a", "1")`: "a=1; Path=/fn/shop/cart; HttpOnly; SameSite=Lax",
		`http.cookie("a", "1", {path: "/x", domain: ".example.org", max_age: "1h", expires: time.unix(0), http_only: false, secure: true, same_site: "Strict"})`: "a=1; Path=/x; Domain=example.org; Max-Age=3600; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; SameSite=Strict",
		`http.cookie("a", "1", {same_site: "none"})`: "a=1; Path=/fn/shop/cart; HttpOnly; Secure; SameSite=None",
		`http.cookie("__Host-a", "1")`:               "__Host-a=1; Path=/; HttpOnly; Secure; SameSite=Lax",
		`http.cookie("__Secure-a", "1")`:             "__Secure-a=1; Path=/fn/shop/cart; HttpOnly; Secure; SameSite=Lax",
		`http.cookie("a", "1", {max_age: "500ms"})`:  "a=1; Path=/fn/shop/cart; Max-Age=1; HttpOnly; SameSite=Lax",
		`http.cookie("a", "", {max_age: 0})`:         "a=; Path=/fn/shop/cart; Max-Age=0; HttpOnly; SameSite=Lax",
	} {
		call, err := invoke(t, "return {headers: {\"set-cookie\": ["+script+", \"z=1\"]}, body: \"\"}", base)
		require.NoError(t, err, script)
		require.Equal(t, []string{"set-cookie: " + want, "set-cookie: z=1"}, headersOf(&call.Response)[:2], script)
	}
	call, err := invoke(t, `return http.cookie("a", "1")`)
	require.NoError(t, err)
	require.Equal(t, "a=1; Path=/; HttpOnly; SameSite=Lax", string(call.Response.Body), "a call without a place")
	for _, bad := range []string{
		`"a b", "1"`, `"", "1"`, `"a=b", "1"`, `"a;b", "1"`, `"ä", "1"`, `"a\r\nb", "1"`, `"picloud_session", "1"`,
		`"a", "1; Path=/"`, `"a", "1\r\nx: y"`, `"a", "ü"`, `"a", "1 2"`, `"a", "\"1\""`, `"a", "1,2"`, `"a", "1\\2"`, `"a", "x".repeat(5000)`,
		`"a", "1", {path: "x"}`, `"a", "1", {path: "/; Domain=evil"}`, `"a", "1", {path: "/\r\n"}`, `"a", "1", {domain: "a; Secure"}`, `"a", "1", {domain: "ü.de"}`, `"a", "1", {domain: "."}`, `"a", "1", {domain: "a..de"}`,
		`"a", "1", {same_site: "any"}`, `"a", "1", {same_site: "none", secure: false}`, `"__Host-a", "1", {path: "/x"}`, `"__Host-a", "1", {domain: "x.de"}`, `"__Secure-a", "1", {secure: false}`,
	} {
		call, err := invoke(t, "return try { http.cookie("+bad+") } catch (e) { {code: e.code} }", base)
		require.NoError(t, err, bad)
		require.JSONEq(t, `{"code":"cookie_invalid"}`, string(call.Response.Body), bad)
	}
	for _, bad := range []string{`"a"`, `"a", 1`, `"a", "1", {max_age: -1}`, `"a", "1", {expires: "tomorrow"}`, `"a", "1", {http_only: 1}`, `"a", "1", {maxage: 1}`} {
		call, err := invoke(t, "return try { http.cookie("+bad+") } catch (e) { {code: e.code} }", base)
		require.NoError(t, err, bad)
		require.JSONEq(t, `{"code":"invalid_arguments"}`, string(call.Response.Body), bad)
	}
}
