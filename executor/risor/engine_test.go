package risor

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/risor/module"
	"github.com/picloud/picloud/executor/wire"
)

// recorder is a host that remembers.
type recorder struct {
	mu      sync.Mutex
	records []string
	calls   []string
	answer  any
	err     error
}

func (r *recorder) Log(level wire.Level, message string, fields []byte) {
	v, err := wire.Unmarshal(fields)
	text := fmt.Sprintf("%s %s", level, message)
	if v != nil || err != nil {
		text += fmt.Sprintf(" %v", v)
	}
	if err != nil {
		text += err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, text)
}

func (r *recorder) Call(name string, args []byte) ([]byte, error) {
	v, err := wire.Unmarshal(args)
	if err != nil {
		return nil, err
	}
	r.calls = append(r.calls, fmt.Sprintf("%s%v", name, v))
	if r.err != nil {
		return nil, r.err
	}
	return wire.Marshal(r.answer)
}

func (r *recorder) Sleep(d time.Duration) error {
	r.calls = append(r.calls, "sleep "+d.String())
	return nil
}

func newCall() *Call {
	return &Call{
		Handler: "handle", App: "default", Function: "hello", Version: 3,
		Access: module.Access{
			Request: &wire.Invocation{Method: []byte("GET"), Path: []byte("/"), ID: []byte("01X"), ClientIP: []byte("192.0.2.7")},
			Host:    &recorder{},
		},
		Deadline: time.Now().Add(10 * time.Second), MaxResponse: 8 << 20,
	}
}

func mustCompile(t testing.TB, source string) *Program {
	t.Helper()
	p, err := Compile([]byte(source))
	require.NoError(t, err)
	return p
}

// invoke runs a script whose handler is the body.
func invoke(t testing.TB, body string, with ...func(*Call)) (*Call, error) {
	t.Helper()
	call := newCall()
	for _, f := range with {
		f(call)
	}
	return call, mustCompile(t, "function handle(req) {\n"+body+"\n}").Invoke(call)
}

func reasonOf(t testing.TB, err error) *Error {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	return e
}

func TestHello(t *testing.T) {
	call, err := invoke(t, `return {hello: req.query.name ?? "world"}`, func(c *Call) { c.Request.Query = []byte("name=Ada") })
	require.NoError(t, err)
	require.Equal(t, 200, call.Response.Status)
	require.JSONEq(t, `{"hello":"Ada"}`, string(call.Response.Body))
}

func TestRuntimeErrors(t *testing.T) {
	_, err := invoke(t, "let x = {a: 1}\nreturn x.map(y => y)")
	e := reasonOf(t, err)
	require.Equal(t, wire.ReasonError, e.Reason)
	require.Equal(t, `type error: attribute "map" not found on map object`, e.Message)
	require.Equal(t, 3, e.Line)
	require.Equal(t, "return x.map(y => y)", e.Excerpt)
	require.Equal(t, []string{"handle (3:10)"}, e.Trace)

	_, err = invoke(t, "let m = {a: 1}\nlet x = `line 3\nline 4\n${m.b} here`\nreturn x")
	e = reasonOf(t, err)
	require.Equal(t, []string{"handle (5:5)"}, e.Trace)
	require.Equal(t, "${m.b} here`", e.Excerpt)

	_, err = invoke(t, `throw "`+strings.Repeat("x", 5000)+`"`)
	require.Len(t, reasonOf(t, err).Message, maxMessage)
}

func TestEndlessRecursion(t *testing.T) {
	p := mustCompile(t, "function f(n) { return f(n + 1) }\nfunction handle(req) { return f(0) }")
	e := reasonOf(t, p.Invoke(newCall()))
	require.Equal(t, wire.ReasonError, e.Reason)
	require.Contains(t, e.Message, "stack overflow: more than 1024 nested calls")
	require.Len(t, e.Trace, 17)
}

func TestDeadlineAndCancel(t *testing.T) {
	spin := `return range(10000000000).each(x => try { x } catch (e) { "swallowed" })`
	_, err := invoke(t, spin, func(c *Call) { c.Deadline = time.Now().Add(20 * time.Millisecond) })
	require.Equal(t, wire.ReasonTimeout, reasonOf(t, err).Reason)

	var cancel atomic.Bool
	time.AfterFunc(10*time.Millisecond, func() { cancel.Store(true) })
	_, err = invoke(t, spin, func(c *Call) { c.Cancel = &cancel })
	require.Equal(t, wire.ReasonCancelled, reasonOf(t, err).Reason)

	// Natives that call natives without end.
	_, err = invoke(t, `return range(10000000000).each(string)`, func(c *Call) { c.Deadline = time.Now().Add(20 * time.Millisecond) })
	require.Equal(t, wire.ReasonTimeout, reasonOf(t, err).Reason)

	_, err = invoke(t, `return 1`, func(c *Call) { c.Deadline = time.Now().Add(-time.Second) })
	require.Equal(t, wire.ReasonTimeout, reasonOf(t, err).Reason)
}

func TestPanicsOfNatives(t *testing.T) {
	_, err := invoke(t, `return "ab".repeat(9000000000000000000)`)
	e := reasonOf(t, err)
	require.Equal(t, wire.ReasonError, e.Reason)
	require.Contains(t, e.Message, "internal error: strings: Repeat")
	require.Equal(t, 2, e.Line)
}

func TestNoStateLeaks(t *testing.T) {
	p := mustCompile(t, "let n = 0\nlet seen = []\nfunction handle(req) { n += 1; seen.append(n); return [n, len(seen)] }")
	call := newCall()
	for range 20 {
		require.NoError(t, p.Invoke(call))
		require.Equal(t, "[1,1]", string(call.Response.Body))
		call.Reset()
		fresh := newCall()
		fresh.Response = call.Response
		call = fresh
	}
}

func TestConcurrentInvoke(t *testing.T) {
	p := mustCompile(t, `
const words = ["a", "b"]
let total = 0
function handle(req) {
    range(int(req.query.n)).each(i => { total += i })
    return {id: req.id, total, words: words.map(w => w + req.id), body: req.json()}
}`)
	var wg sync.WaitGroup
	failures := make(chan string, 100)
	for g := range 8 {
		wg.Go(func() {
			call := newCall()
			for i := range 100 {
				call.Reset()
				fresh := newCall()
				fresh.Response = call.Response
				call = fresh
				id := fmt.Sprintf("%d-%d", g, i)
				call.Request.ID, call.Request.Query = []byte(id), []byte("n=50")
				call.Request.Body = []byte(fmt.Sprintf(`{"g":%d}`, g))
				err := p.Invoke(call)
				want := fmt.Sprintf(`{"body":{"g":%d},"id":"%s","total":1225,"words":["a%s","b%s"]}`, g, id, id, id)
				if err != nil || string(call.Response.Body) != want {
					failures <- fmt.Sprintf("%v %s", err, call.Response.Body)
					return
				}
			}
		})
	}
	wg.Wait()
	close(failures)
	require.Empty(t, <-failures)
}

func TestLoad(t *testing.T) {
	for name, c := range map[string]struct {
		source  string
		reason  wire.Reason
		message string
		line    int
	}{
		"a value":        {"let handle = 5", wire.ReasonScript, "handle is 5, not a function", 0},
		"no parameter":   {"function handle() { return 1 }", wire.ReasonScript, "handle takes 0 parameters; it is called with one, as in: function handle(req) {", 0},
		"two parameters": {"function handle(a, b) { return 1 }", wire.ReasonScript, "handle takes 2 parameters", 0},
		"throws":         {"function handle(req) {}\nlet x = 1 / 0", wire.ReasonScript, "value error: division by zero", 2},
		"spins":          {"function handle(req) {}\nrange(10000000000).each(x => 1)", wire.ReasonCompileBudget, "the top level of the script takes too long", 0},
	} {
		t.Run(name, func(t *testing.T) {
			call := newCall()
			call.Deadline = time.Now().Add(50 * time.Millisecond)
			e := reasonOf(t, mustCompile(t, c.source).Load(call))
			require.Equal(t, c.reason, e.Reason)
			require.Contains(t, e.Message, c.message)
			require.Equal(t, c.line, e.Line)
		})
	}
	for _, good := range []string{"let handle = req => 1", "const handle = (req, x = 1) => 1", "function handle(...all) { return 1 }", "function handle({query}) { return query }"} {
		p := mustCompile(t, good)
		require.NoError(t, p.Load(newCall()))
		require.NoError(t, p.Invoke(newCall()))
		require.Equal(t, []string{"handle"}, p.Handlers())
	}
}

func TestNoSuchHandler(t *testing.T) {
	call := newCall()
	call.Handler = "on_schedule"
	require.Equal(t, wire.ReasonNoHandler, reasonOf(t, mustCompile(t, "function handle(req) {}").Invoke(call)).Reason)
}

func TestLogging(t *testing.T) {
	host := &recorder{}
	call := newCall()
	call.Host = host
	p := mustCompile(t, `
function handle(req) {
    log.debug("plain")
    log.info("fields", {n: 1, f: 1.5, s: "x", l: [true, null], m: {deep: -7}, b: bytes("ab")})
    log.warn({a: [1]}, "no map")
    log.error("odd", {fn: handle, nan: 0.0 / 0.0, err: error("e"), big: "y".repeat(100000)})
    let self = {}
    self["self"] = self
    log.info(self, self)
    print("sum", 1 + 1, [1, "a"], null, bytes("abc"), handle)
    log.info("bad " + string(bytes([255])), {k: string(bytes([255]))})
}`)
	require.NoError(t, p.Invoke(call))
	require.Equal(t, "debug plain", host.records[0])
	require.Equal(t, "info fields map[b:[97 98] f:1.5 l:[true <nil>] m:map[deep:-7] n:1 s:x]", host.records[1])
	require.Equal(t, `warn {"a":[1]} map[value:no map]`, host.records[2])
	require.Equal(t, `error odd map[fields:dropped: over 65536 bytes]`, host.records[3])
	require.Contains(t, host.records[4], `info {"self":{"self":`)
	require.Contains(t, host.records[4], "{…}")
	require.Equal(t, `info sum 2 [1,"a"] null bytes(3) func handle() { ... }`, host.records[5])
	require.Equal(t, "info bad � map[k:�]", host.records[6])

	_, err := invoke(t, "return log.info()")
	require.ErrorContains(t, err, "log.info: got 0 arguments: log.info(message: any, fields?: map) -> null")
}

func TestJSONModule(t *testing.T) {
	call, err := invoke(t, `
let code = f => try { f() } catch (e) { [e.code, e.message()] }
return [
    json.parse("{\"n\": 9007199254740993, \"f\": 1.5, \"l\": [1, null]}"),
    json.stringify({b: [1], a: "x"}),
    json.stringify({b: [1, {}], a: []}, 1),
    code(() => json.parse("{\n  nope")),
    code(() => json.stringify(handle)),
    code(() => json.stringify({a: [1, handle]})),
    code(() => json.parse(5)),
    encode({n: 9007199254740993}, "json"),
    decode("9007199254740993", "json"),
    encode("hi", "base64"),
]`)
	require.NoError(t, err)
	require.JSONEq(t, `[
		{"n": 9007199254740993, "f": 1.5, "l": [1, null]},
		"{\"a\":\"x\",\"b\":[1]}",
		"{\n \"a\": [],\n \"b\": [\n  1,\n  {}\n ]\n}",
		["json_invalid", "invalid JSON at line 2, column 3: unexpected 'n' instead of a name in quotes"],
		["json_unsupported", "value: a function cannot be written as JSON"],
		["json_unsupported", "value.a[1]: a function cannot be written as JSON"],
		["invalid_arguments", "json.parse: text must be a string or bytes, not 5: json.parse(text: string|bytes) -> any"],
		"{\"n\":9007199254740993}", 9007199254740993, "aGk="
	]`, string(call.Response.Body))
	require.Contains(t, string(call.Response.Body), "9007199254740993")
}

func TestHostNamesCanBeTaken(t *testing.T) {
	p := mustCompile(t, `
let log = "mine"
function list(x) { return x }
let {json} = {json: 5}
function handle(req) { let math = 1; return [log, list(2), json, math, keys({a: 1})] }`)
	call := newCall()
	require.NoError(t, p.Invoke(call))
	require.Equal(t, `["mine",2,5,1,["a"]]`, string(call.Response.Body))
}

func TestDocs(t *testing.T) {
	require.Len(t, RequestDocs(), 18)
}

// FuzzInvoke runs whole scripts with a short deadline.
func FuzzInvoke(f *testing.F) {
	for _, seed := range []string{
		"return {status: 200, headers: req.headers, body: req.json()}",
		"log.info(req, {a: req.query}); throw error(\"%s\", req.path)",
		"try { return json.parse(req.text()) } catch (e) { return {status: 400, body: e.code} } finally { print(e) }",
		"let f = a => b => c => [a, b, c, req]; return f(1)(2)(3)",
		"return range(9).map(i => encode(string(i), \"base64\")).filter(s => regexp.compile(s).test(\"MA==\"))",
		"let {method, query} = req; return match method { \"GET\" => query.all(\"a\"), _ => [...req.query] }",
	} {
		f.Add(seed, []byte(`{"a":[1,2.5,"x"]}`), "a=1&b=%20")
	}
	f.Fuzz(func(t *testing.T, body string, payload []byte, query string) {
		if len(body) > 1000 || busy.MatchString(body) {
			return
		}
		hang := time.AfterFunc(10*time.Second, func() { panic("hangs: " + body) })
		defer hang.Stop()
		p, err := Compile([]byte("function handle(req) {\n" + body + "\n}"))
		if err != nil {
			require.NotEmpty(t, reasonOf(t, err).Message)
			return
		}
		call := newCall()
		call.Request.Body, call.Request.Query = payload, []byte(query)
		call.Deadline = time.Now().Add(20 * time.Millisecond)
		if err := p.Invoke(call); err != nil {
			e := reasonOf(t, err)
			require.NotContains(t, e.Message, "internal error: runtime error", body)
			require.True(t, utf8.ValidString(e.Message))
			return
		}
		require.NoError(t, call.Response.Header.Check())
		require.NotZero(t, call.Response.Status)
	})
}

// busy are scripts that may keep a native function busy past any deadline, or
// take all memory: those are the process's to end.
var busy = regexp.MustCompile(`repeat|\*\*|<<|[0-9]{5}|0x|0b|append|extend|insert|update`)
