package executor

import (
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testworker"
)

// The codes that attacks may end with.
var (
	memory    = picloud.CodeFunctionMemory
	timeout   = picloud.CodeFunctionTimeout
	raised    = picloud.CodeFunctionError
	noAnswer  = picloud.CodeFunctionResponse
	tooLarge  = picloud.CodeResponseTooLarge
	answered  = picloud.Code("answered")
	attackMax = 400 * time.Millisecond // the timeout of an attack
)

// attack is the body of a handler that means harm, and how its call may end.
type attack struct {
	name, body string
	want       []picloud.Code
}

// bombs take memory, in every shape that the language has.
var bombs = []attack{
	{"range list", `return len(list(range(1000000000)))`, oneOf(memory)},
	{"range map", `return len(range(1000000000).map(x => x))`, oneOf(memory)},
	{"repeat", `return len("x".repeat(4000000000))`, oneOf(memory)},
	{"repeat overflow", `return len("xxxx".repeat(9000000000000000000))`, oneOf(memory, raised)},
	{"bytes repeat", `return len(bytes("x").repeat(4000000000))`, oneOf(memory, raised)},
	{"many repeats", `return len(range(1000).map(i => "x".repeat(1000000 + i)))`, oneOf(memory)},
	{"doubling", `let s = "xxxxxxxxxxxxxxxx"; range(40).each(i => { s = s + s }); return len(s)`, oneOf(memory)},
	{"template doubling", "let s = 'xxxxxxxxxxxxxxxx'; range(40).each(i => { s = `${s}${s}` }); return len(s)", oneOf(memory)},
	{"list doubling", `let l = [1]; range(40).each(i => { l = l + l }); return len(l)`, oneOf(memory)},
	{"spread doubling", `let l = [1]; range(40).each(i => { l = [...l, ...l] }); return len(l)`, oneOf(memory)},
	{"list extend", `let l = [1]; range(40).each(i => { l.extend(l.copy()) }); return len(l)`, oneOf(memory)},
	{"map keys", `let m = {}; range(100000000).each(i => { m[string(i)] = i }); return len(m)`, oneOf(memory, timeout)},
	{"map spread", `let m = {}; range(100000000).each(i => { m[string(i)] = {...m} }); return len(m)`, oneOf(memory, timeout)},
	{"long keys", `let m = {}; range(1000).each(i => { m["k".repeat(1000000) + string(i)] = i }); return len(m)`, oneOf(memory)},
	{"closures", `let keep = []; range(100000000).each(i => keep.append(() => i)); return len(keep)`, oneOf(memory, timeout)},
	{"nested lists", `let l = []; range(100000000).each(i => { l = [l] }); return 1`, oneOf(memory, timeout)},
	{"errors", `let l = []; range(100000000).each(i => { l.append(try { throw "x".repeat(1000) } catch (e) { e }) }); return 1`, oneOf(memory, timeout)},
	{"split", `return len("x".repeat(50000000).split(""))`, oneOf(memory, timeout)},
	{"fields", `return len("x ".repeat(20000000).fields())`, oneOf(memory, timeout)},
	{"join", `let l = range(64).map(i => "x".repeat(1000000)); return len(",".join(l + l + l + l))`, oneOf(memory, raised)},
	{"replace", `return len("x".repeat(1000000).replace_all("x", "y".repeat(1000)))`, oneOf(memory)},
	{"replace nothing", `return len("x".repeat(1000000).replace_all("", "y".repeat(1000)))`, oneOf(memory)},
	{"sprintf width", `return len(range(1000).map(i => sprintf("%1000000d", i)))`, oneOf(memory, raised)},
	{"sprintf star", `return len(range(1000).map(i => sprintf("%*d", 1000000, i)))`, oneOf(memory, raised)},
	{"sprintf floats", `return len(range(1000).map(i => sprintf("%.1000000f", 1.5)))`, oneOf(memory, raised)},
	{"chunk", `return len(chunk(list(range(1000000)), 1).map(c => [c, c, c, c]))`, oneOf(memory)},
	{"sorted", `let l = list(range(1000000)); return len(range(100).map(i => sorted(l)))`, oneOf(memory, timeout)},
	{"reversed", `let s = "x".repeat(10000000); return len(range(100).map(i => reversed(s)))`, oneOf(memory, raised, timeout)},
	{"encode hex", `let s = "x".repeat(20000000); return len(encode(encode(encode(s, "hex"), "hex"), "hex"))`, oneOf(memory)},
	{"encode urlquery", `return len(encode({a: "%".repeat(40000000)}, "urlquery"))`, oneOf(memory, raised)},
	{"encode csv", `return len(encode([["\"".repeat(40000000)]], "csv"))`, oneOf(memory, raised)},
	{"decode csv", `return len(decode("x\n".repeat(10000000), "csv"))`, oneOf(memory, timeout)},
	{"decode base64", `return len(range(100).map(i => decode("eHh4".repeat(1000000), "base64")))`, oneOf(memory)},
	{"json deep", `return json.parse("[".repeat(20000000) + "]".repeat(20000000))`, oneOf(memory, raised)},
	{"json wide", `return json.parse("[" + "0,".repeat(10000000) + "0]")`, oneOf(memory, timeout)},
	{"json objects", `return json.parse("[" + "{},".repeat(3000000) + "0]")`, oneOf(memory, timeout)},
	{"json indent", `let l = [1]; range(400).each(i => { l = [l] }); return len(json.stringify(range(10000).map(i => l), 8))`, oneOf(memory, raised)},
	{"dag to text", `let l = [1]; range(40).each(i => { l = [l, l] }); return len(string(l))`, oneOf(memory, timeout)},
	{"dag to template", "let l = [1]; range(40).each(i => { l = [l, l] }); return len(`${l}`)", oneOf(memory, timeout)},
	{"dag to json", `let l = [1]; range(40).each(i => { l = [l, l] }); return len(json.stringify(l))`, oneOf(memory, raised, timeout)},
	{"dag in maps", `let m = {a: 1}; range(40).each(i => { m = {a: m, b: m} }); return len(string(m))`, oneOf(memory, timeout)},
	{"cyclic text", `let l = []; l.append(l); return len(string(l))`, oneOf(answered, memory, raised)},
	{"cyclic sprintf", `let l = []; l.append(l); return len(sprintf("%v", l))`, oneOf(answered, memory, raised)},
	{"cyclic equality", `let a = []; a.append(a); let b = []; b.append(b); return a == b`, oneOf(memory, raised, timeout)},
	{"cyclic map", `let m = {}; m["m"] = m; return len(string(m))`, oneOf(answered, memory, raised)},
	{"pattern", `return len(range(1000).map(i => regexp.compile("(a{1,1000}){1,30}" + string(i))))`, oneOf(memory, raised, timeout)},
	{"matches", `return len(regexp.find_all("x", "x".repeat(20000000)))`, oneOf(memory, timeout)},
	{"regexp replace", `return len(regexp.replace("x", "x".repeat(1000000), "y".repeat(1000)))`, oneOf(memory, timeout)},
	{"regexp split", `return len(regexp.split("x", "x".repeat(20000000)))`, oneOf(memory, timeout)},
	{"bytes list", `return len(list(bytes("x".repeat(60000000))))`, oneOf(memory, raised, timeout)},
	{"partials", `let f = (x) => x; let l = []; range(100000000).each(i => { l.append([f, i]) }); return 1`, oneOf(memory, timeout)},
	{"response body", `return "x".repeat(30000000)`, oneOf(tooLarge, memory)},
	{"response list", `return range(3000000).map(i => "xxxxxxxxxx")`, oneOf(tooLarge, memory, timeout)},
	{"response dag", `let l = [1]; range(40).each(i => { l = [l, l] }); return l`, oneOf(tooLarge, memory, timeout)},
	{"response cycle", `let l = []; l.append(l); return l`, oneOf(noAnswer)},
	{"response headers", `let h = {}; range(100000).each(i => { h["x-" + string(i)] = "y".repeat(100) }); return {status: 200, headers: h, body: ""}`, oneOf(noAnswer, memory)},
	{"response header", `return {status: 200, headers: {a: "y".repeat(30000000)}, body: ""}`, oneOf(noAnswer, memory)},
	{"header list", `return {status: 200, headers: {a: range(1000000).map(i => "y")}, body: ""}`, oneOf(noAnswer, memory)},
	{"log fields", `range(100000).each(i => { log.info("x", {a: "y".repeat(10000000)}) }); return 1`, oneOf(answered, timeout, memory)},
	{"log dag", `let l = [1]; range(40).each(i => { l = [l, l] }); log.info("x", {l: l}); return 1`, oneOf(answered, timeout, memory)},
	{"log deep", `let l = [1]; range(100000).each(i => { l = [l] }); log.info("x", {l: l}); return 1`, oneOf(answered)},
	{"log wide", `log.info("x", {l: range(1000000).map(i => i)}); return 1`, oneOf(answered, memory)},
	{"print", `range(100000000).each(i => print("x".repeat(100000))); return 1`, oneOf(timeout)},
	{"throw", `throw "x".repeat(30000000)`, oneOf(raised, timeout)}, // a busy machine takes its time for so large a text
}

// spins take the processor, in natives too, and swallow what would stop them.
var spins = []attack{
	{"each", `range(1000000000000).each(x => x)`, oneOf(timeout)},
	{"map", `list(range(1000)).map(a => range(1000000000).each(b => b))`, oneOf(timeout)},
	{"reduce", `list(range(1000)).reduce(0, (a, b) => range(1000000000).each(c => c))`, oneOf(timeout)},
	{"native callback", `range(1000000000000).each(string)`, oneOf(timeout)},
	{"filter", `range(1000000000000).filter(x => false)`, oneOf(timeout)},
	{"recursion", `function f(n) { if (n == 0) { return 1 }; return f(n - 1) + f(n - 1) }
 return f(60)`, oneOf(timeout)},
	{"overflow", `function f(n) { return f(n + 1) + 1 }
 return f(0)`, oneOf(raised)},
	{"caught overflow", `function f(n) { return try { f(n + 1) } catch (e) { f(n + 1) } }
 return f(0)`, oneOf(timeout)},
	{"comparator", `list(range(1000)).sort((a, b) => { range(1000000000).each(x => x); return a < b })`, oneOf(timeout, raised)},
	{"sorted comparator", `sorted(list(range(1000)), (a, b) => { range(1000000000).each(x => x); return a < b })`, oneOf(timeout, raised)},
	{"regexp", `let s = "a".repeat(20000000); return regexp.match("(x+x+)+y|(a*)*b", s)`, oneOf(timeout)},
	{"regexp again", `let s = "a".repeat(1000000); return range(1000000).filter(i => regexp.match("(a*)*b", s))`, oneOf(timeout)},
	{"text", `let s = "ab".repeat(10000000); return range(1000000).filter(i => s.count("ba") < i)`, oneOf(timeout, memory)},
	{"index", `let s = "a".repeat(20000000); return range(1000000).filter(i => s.index("a".repeat(5000000) + "b") > 0)`, oneOf(timeout, memory)},
	{"equal dags", `let a = [1]; let b = [1]; range(40).each(i => { a = [a, a]; b = [b, b] }); return a == b`, oneOf(timeout)},
	{"dag in list", `let a = [1]; let b = [1]; range(40).each(i => { a = [a, a]; b = [b, b] }); return b in [a]`, oneOf(timeout, answered)},
	{"sum", `return math.sum(range(1000000000000))`, oneOf(timeout, raised, memory)},
	{"all", `return all(range(1000000000000).map(x => true))`, oneOf(timeout, memory)},
	{"catch", `range(1000000000000).each(x => try { range(1000000).each(y => y) } catch (e) { 1 })`, oneOf(timeout)},
	{"catch in callback", `list(range(1000000)).map(x => try { range(1000000000).each(y => y) } catch (e) { 1 })`, oneOf(timeout, memory)},
	{"finally", `function f(n) { return try { range(1000000000).each(y => y) } finally { f(n + 1) } }
 return f(0)`, oneOf(timeout, raised)},
	{"finally throws", `range(1000000000).each(x => try { try { throw "a" } finally { throw "b" } } catch (e) { e })`, oneOf(timeout)},
	{"catch all", `function f() { return try { range(1000000000000).each(x => x) } catch (e) { f() } finally { f() } }
 return f()`, oneOf(timeout)},
	{"log flood", `range(1000000000).each(i => log.info("x")); return 1`, oneOf(timeout)},
	{"host flood", `range(1000000000).each(i => try { secrets.get("a") } catch (e) { 1 }); return 1`, oneOf(timeout)},
}

func oneOf(codes ...picloud.Code) []picloud.Code { return codes }

// arena is an executor with a neighbour whose calls must all be answered.
type arena struct {
	e         *Executor
	neighbour *Function
	slowest   atomic.Int64 // of the neighbour's calls
	calls     atomic.Int64
	peak      atomic.Uint64 // of the agent's heap
}

func newArena(t *testing.T) *arena {
	t.Helper()
	path := testworker.Path(t)
	a := &arena{e: launch(t, func(o *testOptions) {
		o.WorkerPath, o.WorkerArgs, o.Layers, o.MaxWorkers = path, nil, nil, 2
		o.Host, o.LoadTimeout = redirecting(0), time.Second
	})}
	a.neighbour = version(a.e, "neighbour", "f", `function handle(req) { return "fine" }`, 1, nil)
	must(t, a.neighbour, "/")
	runtime.GC() // what other tests left
	return a
}

// watch calls the neighbour until the returned function is called.
func (a *arena) watch(t *testing.T) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			begun := time.Now()
			body, err := invoke(t, a.neighbour, "/")
			if err != nil || body != "fine" {
				t.Errorf("the neighbour got %q, %v", body, err)
			}
			a.calls.Add(1)
			a.slowest.Store(max(a.slowest.Load(), int64(time.Since(begun))))
			metrics.Read(heap)
			a.peak.Store(max(a.peak.Load(), heap[0].Value.Uint64()))
		}
	})
	return func() { close(done); wg.Wait() }
}

// TestHostileScripts runs each attack in an app of its own, beside calls of that
// app that mean no harm: the attack ends in time with the right error, each of
// the others is answered or gets a typed error, and the neighbour notices
// nothing.
func TestHostileScripts(t *testing.T) {
	a := newArena(t)
	defer a.watch(t)()
	var over atomic.Int64
	t.Run("all", func(t *testing.T) {
		for i, c := range slices.Concat(bombs, spins) {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				late := a.endure(t, fmt.Sprintf("attack-%d", i), c)
				over.Store(max(over.Load(), int64(late)))
			})
		}
	})
	t.Logf("latest end %v behind the timeout; slowest of %d neighbour's calls %v; agent's heap at most %d MiB",
		time.Duration(over.Load()), a.calls.Load(), time.Duration(a.slowest.Load()), a.peak.Load()>>20)
	require.Less(t, a.peak.Load(), uint64(128<<20))
}

// endure runs an attack in an app. It returns how late it ended.
func (a *arena) endure(t *testing.T, app string, c attack) (late time.Duration) {
	quick := version(a.e, app, "quick", `function handle(req) { return "quick" }`, 1, nil)
	must(t, quick, "/")
	f := version(a.e, app, "f", "function handle(req) {\n"+c.body+"\n}", 1, func(l *picloud.Limits) { l.Timeout = picloud.Duration(attackMax) })
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { bystand(t, quick, done) })
	begun := time.Now()
	_, err := invoke(t, f, "/")
	took := time.Since(begun)
	close(done)
	wg.Wait()
	code := answered
	if err != nil {
		code = picloud.CodeOf(err)
	}
	if code != timeout || !slices.Contains(c.want, memory) { // a busy machine takes its time to fill the memory
		require.Contains(t, c.want, code, "%v", err)
	}
	require.Less(t, took, attackMax+time.Second, "150 ms and what a busy machine takes")
	must(t, quick, "/") // by a fresh worker, if need be
	a.e.mu.Lock()
	p := a.e.pools[app]
	a.e.mu.Unlock()
	p.drain()
	return took - attackMax
}

// TestHostileFloods has one app log and ask the host as fast as it can, in as
// many calls as it may have at once.
func TestHostileFloods(t *testing.T) {
	a := newArena(t)
	defer a.watch(t)()
	const each = 8
	var wg sync.WaitGroup
	for i, body := range []string{
		`range(1000000000).each(i => { log.info("x".repeat(60000), {a: "y".repeat(15000)}) })`,
		`range(1000000000).each(i => { try { kv.set("k", "v".repeat(200000)) } catch (e) { 1 } })`,
		`range(1000000000).each(i => { try { kv.set("k", range(16000).map(i => i)) } catch (e) { e.code } })`,
		`range(1000000000).each(i => { try { http.get("https://example.com/") } catch (e) { print(e) } })`,
	} {
		f := version(a.e, "flood", fmt.Sprintf("f%d", i), "function handle(req) {\n"+body+"\n}", 1, func(l *picloud.Limits) {
			l.Timeout, l.LogBytes, l.HostCalls, l.OutboundCalls = picloud.Duration(attackMax), 1<<20, 10_000, 1000
		})
		for range each {
			wg.Go(func() {
				begun := time.Now()
				_, err := invoke(t, f, "/")
				if picloud.CodeOf(err) != timeout {
					t.Errorf("flood %d: %v", i, err)
				}
				if over := time.Since(begun) - attackMax; over > a.e.hooks.LoadTimeout+time.Second { // they load one behind the other
					t.Errorf("flood %d ended %v late", i, over)
				}
			})
		}
	}
	wg.Wait()
	t.Logf("slowest of %d neighbour's calls %v; agent's heap at most %d MiB", a.calls.Load(), time.Duration(a.slowest.Load()), a.peak.Load()>>20)
	require.Less(t, a.peak.Load(), uint64(128<<20))
}

// bystand calls a harmless function of an attacked app.
func bystand(t *testing.T, quick *Function, done chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		r, err := quick.Invoke(ctx, &Call{Path: "/"})
		cancel()
		switch code := picloud.CodeOf(err); {
		case err == nil && string(r.Body) != "quick":
			t.Errorf("a bystander got %q", r.Body)
		case err == nil || slices.Contains([]picloud.Code{picloud.CodeFunctionCrash, picloud.CodeInterrupted, memory, picloud.CodeBreakerOpen}, code):
		default:
			t.Errorf("a bystander got %v", err)
		}
		r.Release()
	}
}

// TestHostileSources compiles sources that are built to take the compiler's time
// and memory: each is refused in its time, or is small enough to be deployed.
func TestHostileSources(t *testing.T) {
	a := newArena(t)
	defer a.watch(t)()
	const size = picloud.MaxSourceSize - 100
	lines := func(line string) string {
		var b strings.Builder
		for i := 0; b.Len() < size-len(line)-20; i++ {
			fmt.Fprintf(&b, line+"\n", i)
		}
		return b.String()
	}
	var slowest atomic.Int64
	sources := map[string]string{
		"bindings":           lines("let x%d = 1"),
		"bindings inside":    "function handle(req) {" + lines("let x%d = 1") + "}",
		"functions":          lines("function f%d() { return 1 }"),
		"assignments":        "let x = 1\n" + lines("x = %d"),
		"additions":          "let x = 1" + strings.Repeat("+1", size/2),
		"chained calls":      "let x = \"a\"" + strings.Repeat(".trim_space()", size/13),
		"coalesce":           "let x = 1" + strings.Repeat("??1", size/3),
		"arrows":             "let x = " + strings.Repeat("a=>", size/3) + "1",
		"else if":            "let x = if (true) { 1 }" + strings.Repeat(" else if (true) { 1 }", size/21),
		"not":                "let x = " + strings.Repeat("!", size) + "1",
		"minus":              "let x = " + strings.Repeat("-", size) + "1",
		"brackets":           "let x = " + strings.Repeat("[", size/2) + strings.Repeat("]", size/2),
		"maps":               "let x = " + strings.Repeat("{a:", size/4) + "1" + strings.Repeat("}", size/4),
		"parentheses":        "let x = " + strings.Repeat("(", size/2) + "1" + strings.Repeat(")", size/2),
		"open brackets":      "let x = " + strings.Repeat("[", size),
		"functions nested":   "let x = " + strings.Repeat("function(){return ", size/19) + "1" + strings.Repeat("}", size/19),
		"blocks nested":      "let x = " + strings.Repeat("if (true) {", size/12) + "1" + strings.Repeat("}", size/12),
		"try nested":         "let x = " + strings.Repeat("try {", size/21) + "1" + strings.Repeat("} catch (e) {1}", size/21),
		"match nested":       "let x = " + strings.Repeat("match 1 {1=>", size/13) + "1" + strings.Repeat("}", size/13),
		"match arms":         "let x = match 1 {" + strings.Repeat("1 => 2,\n", size/8-10) + "_ => 3}",
		"templates":          "let x = 1\n" + "let y = `" + strings.Repeat("${x}", size/4-10) + "`",
		"templates nested":   "let x = " + strings.Repeat("`${", size/5) + "1" + strings.Repeat("}`", size/5),
		"list":               "let x = [" + strings.Repeat("1,", size/2-10) + "1]",
		"map":                "let x = {" + lines("a%d: 1,") + "}",
		"subscripts":         "let x = []" + strings.Repeat("[0]", size/3),
		"calls":              "let x = len" + strings.Repeat("(1)", size/3),
		"spreads":            "let x = [" + strings.Repeat("...[],", size/6-2) + "]",
		"parameters":         "function f(" + strings.ReplaceAll(lines("p%d,"), "\n", "") + "p) { return 1 }",
		"destructured":       "let {" + strings.ReplaceAll(lines("p%d,"), "\n", "") + "p} = {}",
		"string":             "let x = \"" + strings.Repeat("x", size) + "\"",
		"unended string":     "let x = \"" + strings.Repeat("x", size),
		"comments":           strings.Repeat("//\n", size/3),
		"blank":              strings.Repeat("\n", size),
		"identifier":         "let " + strings.Repeat("x", size/2) + " = 1",
		"number":             "let x = " + strings.Repeat("9", size/2),
		"pipes":              "let x = 1" + strings.Repeat(" |> string", size/10),
		"ors":                "let x = false" + strings.Repeat("||false", size/7),
		"garbage":            strings.Repeat("}{)(][", size/6),
		"top level spins":    "range(1000000000000).each(x => x)",
		"top level swallows": "range(1000000000000).each(x => try { range(1000000).each(y => y) } catch (e) { 1 })",
		"top level bomb":     "let x = list(range(1000000000))",
		"top level native":   "let a = [1]; let b = [1]; range(40).each(i => { a = [a, a]; b = [b, b] }); let c = a == b",
	}
	t.Run("all", func(t *testing.T) {
		for name, source := range sources {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				took := a.deploy(t, source)
				slowest.Store(max(slowest.Load(), int64(took)))
			})
		}
	})
	t.Logf("slowest compile %v; slowest of %d neighbour's calls %v; agent's heap at most %d MiB",
		time.Duration(slowest.Load()), a.calls.Load(), time.Duration(a.slowest.Load()), a.peak.Load()>>20)
	require.Less(t, a.peak.Load(), uint64(128<<20))
}

// deploy compiles a source and calls it when it is accepted: what may be
// deployed is loaded by each node, and must answer.
func (a *arena) deploy(t *testing.T, source string) (took time.Duration) {
	if !strings.Contains(source, "handle(req)") {
		source += "\nfunction handle(req) { return 1 }"
	}
	begun := time.Now()
	_, err := a.e.Compile(context.Background(), []byte(source), "f")
	took = time.Since(begun)
	require.Less(t, took, 3*time.Second, "1 s, and what a busy machine takes: %v", err)
	if err != nil {
		require.ErrorIs(t, err, picloud.ErrScript)
		return took
	}
	r, err := version(a.e, "source", t.Name(), source, 1, nil).Invoke(context.Background(), &Call{Path: "/"})
	require.NoError(t, err)
	r.Release()
	return took
}
