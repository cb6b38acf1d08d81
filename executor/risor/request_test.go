package risor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/wire"
)

func withRequest(c *Call) {
	var h wire.Pairs
	h = h.AppendPair("Host", "example.org").AppendPair("User-Agent", "curl").AppendPair("X-Multi", "a").AppendPair("x-multi", "b")
	h = h.AppendPair("Cookie", "a=1").AppendPair("Cookie", "b=2").AppendPair("X-Latin", "caf\xe9").AppendPair("x_under", "u")
	c.Request = &wire.Invocation{
		Method: []byte("POST"), Path: []byte("/a/b\xff"), ID: []byte("01X"), ClientIP: []byte("192.0.2.7"),
		Query:  []byte("name=Ada+L&tag=x&tag=y%20z&empty=&flag&bad=%zz&k%C3%A9y=1&raw=%ff&get=g&keys=k"),
		Header: h,
		Body:   []byte(`{"n": 9007199254740993}`),
	}
}

func TestRequest(t *testing.T) {
	for body, want := range map[string]string{
		`return [req.method, req.path, req.id, req.client_ip, req.app, req.function, req.version]`: `["POST","/a/b�","01X","192.0.2.7","default","hello",3]`,
		`return [req.text(), req.json().n, len(req.body), req.body == bytes(req.text())]`:          `["{\"n\": 9007199254740993}",9007199254740993,23,true]`,
		`return [req.query.name, req.query["name"], req.query.nope, req.query["nope"]]`:            `["Ada L","Ada L",null,null]`,
		`return [req.query.tag, req.query.all("tag"), req.query.all("nope")]`:                      `["x",["x","y z"],[]]`,
		`return [req.query.empty, req.query.flag, req.query.bad, req.query["kéy"], req.query.raw]`: `["","","%zz","1","�"]`,
		`return [req.query["get"], req.query["keys"]]`:                                             `["g","k"]`,
		`return [req.query.get("name"), req.query.get("nope"), req.query.get("nope", 5)]`:          `["Ada L",null,5]`,
		`return ["name" in req.query, "nope" in req.query, len(req.query), 5 in req.query]`:        `[true,false,9,false]`,
		`return req.query.keys()`:                                               `["bad","empty","flag","get","keys","kéy","name","raw","tag"]`,
		`return [type(req.query), [...req.headers], list(req.params)]`:          `["map",["cookie","host","user-agent","x-latin","x-multi","x_under"],[]]`,
		`return {...req.query, name: 1}`:                                        `{"bad":"%zz","empty":"","flag":"","get":"g","keys":"k","kéy":"1","name":1,"raw":"�","tag":"x"}`,
		`return [req.headers.host, req.headers["Host"], req.headers.HOST]`:      `["example.org","example.org","example.org"]`,
		`return [req.headers.user_agent, req.headers.x_under]`:                  `["curl","u"]`,
		`return [req.headers["x-multi"], req.headers.all("X-Multi")]`:           `["a, b",["a","b"]]`,
		`return [req.headers.cookie, req.headers["x-latin"]]`:                   `["a=1; b=2","caf�"]`,
		`let out = []; req.headers.each((k, v) => out.append(k)); return out`:   `["cookie","host","user-agent","x-latin","x-multi","x_under"]`,
		`let m = req.query.copy(); m["name"] = 2; return [m.name, len(m)]`:      `[2,9]`,
		`return [req.params.id, req.query.values()[0], req.query.entries()[0]]`: `[null,"%zz",["bad","%zz"]]`,
		`return [string(req), req == req, bool(req.params), bool(req.query)]`:   `["request(POST /a/b�)",true,false,true]`,
		`let {method, query} = req; return [method, query.tag]`:                 `["POST","x"]`,
		"return `${req.query.tag}`":                                             "x",
	} {
		call, err := invoke(t, body, withRequest)
		require.NoError(t, err, body)
		require.Equal(t, want, string(call.Response.Body), body)
	}
}

func TestRequestIsReadOnly(t *testing.T) {
	for _, body := range []string{`req.method = "x"`, `req.query.name = "x"`, `req.query["x"] = 1`, `req.headers["x"] = 1`} {
		_, err := invoke(t, body, withRequest)
		require.ErrorContains(t, err, "read-only", body)
	}
	_, err := invoke(t, `return req.nope`, withRequest)
	require.ErrorContains(t, err, `attribute "nope" not found on request object`)
}

func TestBrokenBodies(t *testing.T) {
	call, err := invoke(t, `return [try { req.json() } catch (e) { e.code }, try { req.text() } catch (e) { e.code }, len(req.body)]`,
		func(c *Call) { c.Request.Body = []byte("\xff") })
	require.NoError(t, err)
	require.Equal(t, `["json_invalid","invalid_utf8",1]`, string(call.Response.Body))

	_, err = invoke(t, `return req.json()`)
	require.ErrorContains(t, err, "invalid JSON at 1:1: it ends before a value")
}

func TestRequestPaths(t *testing.T) {
	call, err := invoke(t, `return [req.path, req.raw_path, req.base, req.route, req.params.id, req.params.rest, req.params.nope, req.params]`, func(c *Call) {
		c.Request.Path, c.Request.RawPath = []byte("/items/a/b/c d"), []byte("/items/a%2Fb/c%20d")
		c.Request.Base, c.Request.Route = []byte("/fn/shop/orders"), []byte("GET /items/{id}/{rest...}")
		c.Request.Params = wire.Pairs{}.AppendPair("id", "a/b").AppendPair("rest", "c d")
	})
	require.NoError(t, err)
	require.JSONEq(t, `["/items/a/b/c d","/items/a%2Fb/c%20d","/fn/shop/orders","GET /items/{id}/{rest...}","a/b","c d",null,{"id":"a/b","rest":"c d"}]`, string(call.Response.Body))

	call, err = invoke(t, `return [req.path, req.raw_path, req.base, req.route, req.params]`)
	require.NoError(t, err)
	require.JSONEq(t, `["/","/","","",{}]`, string(call.Response.Body))
}
