package risor

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/wire"
)

// on runs lines on a node and returns the answer.
func on(t *testing.T, n *node, body string) string {
	t.Helper()
	call, err := invoke(t, body, func(c *Call) { c.Host = n })
	require.NoError(t, err, body)
	return string(call.Response.Body)
}

// Wrong arguments are told before anything happens, with the signature.
func TestInvalidArguments(t *testing.T) {
	for expression, message := range map[string]string{
		`kv.get()`:                      "kv.get: got 0 arguments: kv.get(key: string, default?: any) -> any",
		`kv.get(5)`:                     "kv.get: key must be a string, not 5: kv.get(",
		`kv.set("a", 1, {tll: 5})`:      `the option "tll" does not exist; the options are ttl`,
		`kv.set("a", 1, {ttl: "soon"})`: `option ttl must be a duration such as "1h30m", "7d" or 90 (seconds) of at least a millisecond, not "soon"`,
		`kv.set("a", 1, {ttl: -5})`:     "not -5",
		`kv.set("a", 1, 5)`:             "options must be a map, not 5",
		`kv.cas("a", "1", 2)`:           `version must be an int, not "1"`,
		`kv.cas("a", -1, 2)`:            "version must be a version that kv.entry or a write returned, not -1",
		`kv.incr("a", 1.5)`:             "by must be an int, not 1.5",
		`kv.list({limit: 5000})`:        "option limit must be an int from 1 to 1000, not 5000",
		`secrets.get(null)`:             "name must be a string, not null",
		`http.get("https://api.example.org", {header: {}})`: `the option "header" does not exist`,
		`http.fetch("x", {body: {}})`:                       "option body must be a string or bytes",
		`http.fetch("x", {body: "a", json: 1})`:             "give the body once",
		`http.post("x", "a", {json: 1})`:                    "give the body once",
		`http.fetch("x", {headers: {a: null}})`:             `header "a" must be a string`,
		`http.fetch("x", {headers: {a: "b\r\nc: d"}})`:      "without line breaks",
		`http.fetch("x", {json: {a: bytes("x")}})`:          "the body cannot be written as JSON",
		`http.fetch("x", {timeout: "1us"})`:                 "of at least a millisecond",
		`time.sleep("1x")`:                                  "duration must be a duration",
		`time.now().sub("x")`:                               "time.sub: other must be a time, not \"x\"",
		`time.now().truncate("fortnight")`:                  "unit must be a duration",
		`time.now().format("YYYY-MM-DD HH:mm")`:             "is not written with the reference time",
		`time.now().format("%Y-%m-%d")`:                     "is not written with the reference time",
		`time.now().format("hh:mm PM")`:                     "is not written with the reference time",
		`time.now().format("today")`:                        "is not written with the reference time",
		`time.parse("2026-01-02", "yyyy-MM-dd")`:            "is not written with the reference time",
		`time.now().add({weeks: 1})`:                        `the option "weeks" does not exist`,
		`time.now().add({hours: 4000000})`:                  "hours is more than 200 years",
		`time.seconds("2000000h")`:                          "duration must be a duration",
		`crypto.hmac("sha3", "k", "d")`:                     "hash must be sha256, sha512, sha1 or md5",
		`crypto.random(65537)`:                              "from 1 to 65536",
		`crypto.sha256(5)`:                                  "data must be a string or bytes, not 5",
		`base64.encode("x", "base32")`:                      "variant must be std, url, rawstd or rawurl",
		`url.query([1])`:                                    "values must be a map, not a list",
		`json.stringify(1, 9)`:                              "indent must be a number from 0 to 8, not 9",
		`html.escape(1)`:                                    "text must be a string, not 1",
		`env.get(1)`:                                        "name must be a string, not 1",
		`kv.get("` + "`" + `", 1, 2)`:                       "got 3 arguments",
	} {
		n := newNode()
		got := on(t, n, "return try { "+expression+" } catch (e) { e.code + \" \" + e.message() }")
		require.True(t, strings.HasPrefix(got, "invalid_arguments "), "%s: %s", expression, got)
		require.Contains(t, got, message)
		require.Empty(t, n.asked, expression)
	}
}

func TestValuesKeepTheirTypes(t *testing.T) {
	n := newNode()
	require.Equal(t, `[9007199254740993,1.5,true,null,"é",[1,{"a":[]}],3,"2026-01-01T00:00:00Z"]`, on(t, n, `
kv.set("k", [9007199254740993, 1.5, true, null, "é", [1, {a: []}], bytes("abc"), time.date(2026, 1, 1)])
let v = kv.get("k")
v[6] = len(v[6])
return v`))
	require.Equal(t, `["kv_invalid_value","kv_invalid_value","kv_invalid_value","kv_invalid_value"]`, on(t, n, `
let self = {}
self["self"] = self
return [x => x, self, string(bytes([255])), range(70000).map(i => i)].map(v => try { kv.set("k", v) } catch (e) { e.code })`))
	require.Equal(t, `[null,"none",null]`, on(t, n, `kv.set("nil", null); return [kv.get("nil", "none"), kv.get("no", "none"), kv.get("no", null)]`))
	on(t, n, `kv.set("t", 1, {ttl: "1d12h"}); kv.incr("n", 2, {ttl: 90}); kv.set("f", 1, {ttl: 0.5})`)
	require.EqualValues(t, 36*3600*1000, n.entries["t"].ttl)
	require.EqualValues(t, 90_000, n.entries["n"].ttl)
	require.EqualValues(t, 500, n.entries["f"].ttl)
}

// A loop of compare and set loses no update.
func TestCompareAndSet(t *testing.T) {
	require.Equal(t, `[2,2]`, on(t, newNode(), `
kv.set("list", [])
function append(value, interrupt, tries) {
    let e = kv.entry("list")
    if (interrupt) { append("other", false, 3) }
    if (kv.cas("list", e.version, e.value + [value])) { return tries }
    return append(value, false, tries - 1)
}
return [append("mine", true, 3), len(kv.get("list"))]`))
}

func TestFetch(t *testing.T) {
	echo := func(options string) string {
		return on(t, newNode(), `return {body: http.fetch("https://api.example.org/echo", `+options+`).json()}`)
	}
	require.JSONEq(t, `{}`, echo(`{}`))
	require.JSONEq(t, `{"method": "PUT", "body": "aGk=", "timeout_ms": 1500, "redirects": 0, "max_body": 10}`,
		echo(`{method: "PUT", body: "hi", timeout: 1.5, redirects: 0, max_body: 10}`))
	require.JSONEq(t, `{"headers": [["A", "1"], ["b", "x"], ["b", "y"], ["content-type", "application/json"]], "body": "eyJhIjpbMV19"}`,
		echo(`{json: {a: [1]}, headers: {A: 1, b: ["x", "y"]}}`))
	require.JSONEq(t, `{"headers": [["Content-Type", "text/x"]], "body": "bnVsbA=="}`, echo(`{json: null, headers: {"Content-Type": "text/x"}}`))
	post := func(body string) string {
		return on(t, newNode(), `return {body: http.post("https://api.example.org/echo", `+body+`).json()}`)
	}
	require.JSONEq(t, `{"method": "POST", "body": "/w=="}`, post(`bytes([255])`))
	require.JSONEq(t, `{"method": "POST", "body": "NQ==", "headers": [["content-type", "application/json"]]}`, post(`5`))
	require.JSONEq(t, `{"method": "POST", "body": "bnVsbA==", "headers": [["content-type", "application/json"]]}`, post(`null`))
}

func TestResponse(t *testing.T) {
	require.Equal(t, `["a, b",["a","b"],null,"invalid_utf8","json_invalid",2,"response(200)","response",null]`, on(t, newNode(), `
let r = http.get("https://api.example.org/bytes")
return [r.headers["x-multi"], r.headers.all("X-Multi"), r.headers.nope, try { r.text() } catch (e) { e.code }, try { r.json() } catch (e) { e.code },
    len(r.body), string(r), type(r), try { r.body.nope } catch (e) { e.code }]`))
	require.JSONEq(t, `{"status": 404, "ok": false, "url": "https://api.example.org/x", "headers": {"content-type": "application/json", "x-multi": "a, b"}}`,
		on(t, newNode(), `return {body: http.get("https://api.example.org/x")}`))
	_, err := invoke(t, `http.get("https://api.example.org/x").status = 5`, func(c *Call) { c.Host = newNode() })
	require.ErrorContains(t, err, "read-only")
}

func TestTimes(t *testing.T) {
	require.Equal(t, `["time_invalid","time_invalid","time_invalid","time_invalid","time_invalid","time_zone_unknown","time_zone_unknown","time_zone_unknown"]`, on(t, newNode(), `
return [() => time.unix(1 << 60), () => time.unix(math.nan), () => time.parse("2026-01-01 10:00 CEST", "2006-01-02 15:04 MST"), () => time.date(1, 1, 1).add("-1s"),
    () => time.unix_ms(1 << 62), () => time.now("Local"), () => time.now("../etc/passwd"), () => time.now("/etc/localtime")].map(f => try { f() } catch (e) { e.code })`))
	require.Equal(t, `["2026-07-01T10:00:00+02:00",true,true,false,"2026-07-01T08:00:00Z","2026-07-01T00:00:00+05:45"]`, on(t, newNode(), `
let t = time.parse("2026-07-01 10:00 CEST", "2006-01-02 15:04 MST", "Europe/Vienna")
return [t, t == time.parse("2026-07-01T08:00:00Z"), t > time.date(2026, 7, 1), t < time.date(2026, 7, 1), time.unix(t.unix),
    t.in("Asia/Kathmandu").truncate("day")]`))
	require.Equal(t, `["2026-03-29T00:00:00+01:00","2026-03-29T03:00:00+02:00","2025-12-29T00:00:00Z",1]`, on(t, newNode(), `
let vienna = time.date(2026, 3, 29, {hour: 3, minute: 30, zone: "Europe/Vienna"})
return [vienna.truncate("day"), vienna.truncate("hour"), time.date(2026, 1, 1).truncate("week"), time.date(2026, 1, 1).week]`))
	n := newNode()
	on(t, n, `time.sleep("1m"); time.sleep(0); time.sleep(-5)`)
	require.Equal(t, time.Minute, n.slept)
}

// Natives that take large input end with the call, or refuse what they would
// make of it.
func TestLargeInput(t *testing.T) {
	require.Equal(t, `["too_large","too_large","too_large","too_large","too_large"]`, on(t, newNode(), `
let s = "<".repeat(51000000)
return [() => base64.encode(s), () => hex.encode(s), () => html.escape(s), () => url.escape(s), () => url.query({a: s})].map(f => try { f() } catch (e) { e.code })`))
	call := newCall()
	call.Deadline = time.Now().Add(30 * time.Millisecond)
	begin := time.Now()
	err := mustCompile(t, `const s = bytes("x".repeat(20000000))
function handle(req) { return len(crypto.sha512(s) + crypto.sha1(s) + crypto.md5(s) + crypto.sha512(s) + crypto.sha512(s)) }`).Invoke(call)
	require.Equal(t, wire.ReasonTimeout, reasonOf(t, err).Reason)
	require.Less(t, time.Since(begin), time.Second)
}

// Modules that came later break no script that has the names for itself.
func TestNewModulesCanBeTaken(t *testing.T) {
	require.Equal(t, `["u","h",{"env":1},"t"]`, on(t, newNode(), `
let time = "t"
let f = (url, html) => [url, html]
let [url, html] = f("u", "h")
let env = {env: 1}
return [url, html, env, time]`))
}
