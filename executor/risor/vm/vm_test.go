package vm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	risor "github.com/deepnoodle-ai/risor/v2"
	"github.com/deepnoodle-ai/risor/v2/pkg/bytecode"
	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/stretchr/testify/require"
)

type codedError struct{ code, text string }

func (e codedError) Error() string     { return e.text }
func (e codedError) ErrorCode() string { return e.code }

func natives() map[string]object.Object {
	env := map[string]object.Object{}
	for name, v := range risor.Builtins() {
		env[name] = v.(object.Object)
	}
	env["coded"] = object.NewBuiltin("coded", func(context.Context, ...object.Object) (object.Object, error) {
		return nil, codedError{"boom_code", "boom"}
	})
	env["swallow"] = object.NewBuiltin("swallow", func(ctx context.Context, args ...object.Object) (object.Object, error) {
		_, _ = args[0].(object.Callable).Call(ctx)
		return object.NewString("swallowed"), nil
	})
	env["explode"] = object.NewBuiltin("explode", func(context.Context, ...object.Object) (object.Object, error) {
		panic("exploded")
	})
	env["nothing"] = object.NewBuiltin("nothing", func(context.Context, ...object.Object) (object.Object, error) {
		return nil, nil
	})
	return env
}

func compile(t testing.TB, source string) *bytecode.Code {
	t.Helper()
	env := map[string]any{}
	for name, v := range natives() {
		env[name] = v
	}
	bc, err := risor.Compile(t.Context(), source, risor.WithEnv(env))
	require.NoError(t, err)
	return bc
}

func program(t testing.TB, source string) *Program {
	t.Helper()
	p, err := Load(compile(t, source), natives())
	require.NoError(t, err)
	return p
}

// eval runs the top level, then main() with the arguments.
func eval(t testing.TB, source string, args ...object.Object) (object.Object, error) {
	t.Helper()
	return evalRun(t, source, Run{Deadline: time.Now().Add(10 * time.Second)}, args...)
}

func evalRun(t testing.TB, source string, run Run, args ...object.Object) (object.Object, error) {
	t.Helper()
	m := Get(program(t, source), run)
	defer m.Put()
	if err := m.Top(); err != nil {
		return nil, err
	}
	result, err := m.Call(m.Global("main").(*object.Closure), args...)
	if err == nil {
		err = m.Err()
	}
	return result, err
}

func TestLanguage(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"arithmetic":         {`return [1 + 2 * 3, 7 / 2, 7 % 4, 2 ** 10, -3, 1.5 + 1, 6 & 3, 6 | 1, 1 << 4, 6 ^ 2]`, `[7, 3, 3, 1024, -3, 2.5, 2, 7, 16, 4]`},
		"compare":            {`return [1 < 2, 2 <= 1, "a" == "a", 1 != 1.0, 3 > 2, 3 >= 4]`, `[true, false, true, false, true, false]`},
		"logic":              {`return [null ?? 1, 0 || 2, 1 && 3, !1, "" || "x"]`, `[1, 2, 3, false, "x"]`},
		"strings":            {"let a = 1\nreturn `${a}+${a+1}=${[3]} ${error(\"e\")}`", `"1+2=[3] e"`},
		"lists":              {`let l = [1, 2, 3]; l[0] = 9; return [l, l[1:], l[:1], l[-1], 2 in l, len(l), ...l]`, `[[9, 2, 3], [2, 3], [9], 3, true, 3, 9, 2, 3]`},
		"maps":               {`let m = {a: 1}; m["b"] = 2; m.a = 3; m.b += 1; return {...m, c: 4, ...{d: 5}}`, `{"a": 3, "b": 3, "c": 4, "d": 5}`},
		"destructure":        {`let {a, b = 7, c: d} = {a: 1, c: 3}; let [x, y, z = 5] = [1, 2]; return [a, b, d, x, y, z]`, `[1, 7, 3, 1, 2, 5]`},
		"parameters":         {`function f(a, {b, c = 4}, [d, e], ...rest) { return [a, b, c, d, e, rest] }` + "\n" + `return f(1, {b: 2}, [5, 6], 7, 8)`, `[1, 2, 4, 5, 6, [7, 8]]`},
		"defaults":           {`function f(a, b = "x") { return [a, b] }` + "\n" + `return [f(1), f(1, 2)]`, `[[1, "x"], [1, 2]]`},
		"if":                 {`let f = x => if (x > 1) { "big" } else if (x == 1) { "one" } else { "small" }` + "\n" + `return [f(2), f(1), f(0), if (false) { 1 }]`, `["big", "one", "small", null]`},
		"match":              {`let f = x => match x { 1 => "a", 2 if x > 3 => "never", _ => "other" }` + "\n" + `return [f(1), f(2)]`, `["a", "other"]`},
		"pipe":               {`return [1, 2, 3] |> len`, `3`},
		"pipe partial":       {`return "a,b" |> call((s, x) => s + x, "!")`, `null`},
		"optional":           {`let o = {a: {b: 1}}; let n = null; return [o?.a?.b, n?.a, n?.f(), o?.zz]`, `[1, null, null, null]`},
		"postfix":            {`let a = 1; a++; let m = {x: 5}; m.x--; let l = [1]; l[0]++; return [a, m.x, l[0]]`, `[2, 4, 2]`},
		"spread call":        {`let f = (a, b, c) => [c, b, a]; let l = [2, 3]; return f(1, ...l)`, `[3, 2, 1]`},
		"callbacks":          {`return range(5).filter(x => x % 2 == 0).map((i, x) => [i, x]).reduce(0, (a, p) => a + p[1])`, `6`},
		"counter":            {`let n = 0; let inc = () => { n += 1; return n }; inc(); inc(); return n`, `2`},
		"each has its own":   {`return range(3).map(i => () => i).map(f => f())`, `[0, 1, 2]`},
		"mutual recursion":   {`return even(10)`, `true`},
		"self, destructured": {`function down({n}) { if (n == 0) { return "done" }; return down({n: n - 1}) }` + "\n" + `return down({n: 3})`, `"done"`},
		"many locals":        {`let a=1; let b=2; let c=3; let d=4; let e=5; let f=6; let g=7; let h=8; let i=9; let k=() => a+i; return k()+b+c+d+e+f+g+h`, `45`},
		"sorted":             {`return sorted([3, 1, 2], (a, b) => a > b)`, `[3, 2, 1]`},
		"nil result":         {`return nothing()`, `null`},
		"falls off the end":  {`let x = 1`, `null`},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "pipe partial" {
				t.Skip("the order of a partial's arguments is Risor's")
			}
			source := "function even(n) { return n == 0 || odd(n - 1) }\nfunction odd(n) { return n != 0 && even(n - 1) }\n" +
				"function main() {\n" + c.body + "\n}"
			got, err := eval(t, source)
			require.NoError(t, err)
			require.Equal(t, c.want, got.Inspect())
		})
	}
}

// What Risor's own machine gets wrong.
func TestTry(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"a return out of try, often":          {`function f() { try { return 1 } catch (e) { return 2 } }` + "\n" + `return range(100).map(x => f()).reduce(0, (a, b) => a + b)`, `100`},
		"a left handler catches nothing":      {`function f(x) { if (x) { try { return 1 } catch (e) { return "wrong" } }; throw "boom" }` + "\n" + `return [f(true), try { f(false) } catch (e) { e.message() }]`, `[1, "boom"]`},
		"operands survive a catch":            {`function boom() { throw "x" }` + "\n" + `return 10 + (try { 5 + boom() } catch (e) { 1 })`, `11`},
		"deep":                                {`function f(n) { return try { if (n == 0) { throw "bottom" } else { f(n - 1) } } catch (e) { throw e } }` + "\n" + `return try { f(50) } catch (e) { e.message() }`, `"bottom"`},
		"finally, then return":                {`let out = []; let f = () => { try { return 1 } finally { out.append("f") } }; let r = f(); return [r, out]`, `[1, ["f"]]`},
		"nested finally":                      {`let out = []; let f = () => { try { try { return 1 } finally { out.append(1) } } finally { out.append(2) } }; f(); return out`, `[1, 2]`},
		"nested finally with an error":        {`let out = []; let f = () => { try { try { throw "e" } finally { out.append(1) } } catch (e) { out.append(e.message()) } finally { out.append(2) } }; f(); return out`, `[1, "e", 2]`},
		"an error in finally wins":            {`let f = () => { try { throw "first" } finally { throw "second" } }; return try { f() } catch (e) { e.message() }`, `"second"`},
		"an error in catch runs finally once": {`let out = []; let f = () => { try { throw "a" } catch (e) { throw "b" } finally { out.append(1) } }; try { f() } catch (e) { out.append(e.message()) }; return out`, `[1, "b"]`},
		"an error in finally after catch":     {`let out = []; let f = () => { try { throw "a" } catch (e) { 1 } finally { out.append(1); throw "c" } }; try { f() } catch (e) { out.append(e.message()) }; return out`, `[1, "c"]`},
		"a return in finally wins":            {`let f = () => { try { return 1 } finally { return 2 } }; return f()`, `2`},
		"a return in catch runs finally":      {`let out = []; let f = () => { try { throw "a" } catch (e) { return 5 } finally { out.append(1) } }; return [f(), out]`, `[5, [1]]`},
		"try in a catch with a finally":       {`let out = []; let f = () => { try { throw "a" } catch (e) { try { 1 } finally { out.append("in") }; out.append("after") } finally { out.append("out") } }; f(); return out`, `["in", "after", "out"]`},
		"the value is not the finally's":      {`return [try { 1 } finally { 2 }, try { throw "x" } catch { 3 } finally { 4 }]`, `[1, 3]`},
		"through a native":                    {`return try { [1].map(x => { throw "inner" }) } catch (e) { e.message() }`, `"inner"`},
		"inside a native":                     {`return [1, 0].map(x => try { if (x == 0) { throw "zero" }; x } catch (e) { e.message() })`, `[1, "zero"]`},
		"kinds":                               {`let k = f => try { f() } catch (e) { e.kind() }` + "\n" + `return [k(() => 1 + "a"), k(() => 1 / 0), k(() => "".nope), k(() => [1][5]), k(() => 5())]`, `["type error", "value error", "type error", "value error", "type error"]`},
		"code":                                {`return [try { coded() } catch (e) { [e.code, e.message(), type(e), string(e)] }, try { throw "x" } catch (e) { e.code }]`, `[["boom_code", "boom", "error", "boom"], null]`},
		"code survives a rethrow":             {`return try { try { coded() } catch (e) { throw e } } catch (e) { e.code }`, `"boom_code"`},
		"lines":                               {"return [try { throw \"x\" } catch (e) { e.line() }, try {\n1 + \"a\" } catch (e) { e.line() }]", `[2, 3]`},
		"stack overflow":                      {`function f(n) { return 1 + f(n + 1) }` + "\n" + `return try { f(0) } catch (e) { e.message().contains("stack overflow") }`, `true`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := eval(t, "function main() {\n"+c.body+"\n}")
			require.NoError(t, err)
			require.Equal(t, c.want, got.Inspect())
		})
	}
}

func TestClosuresReachFurtherOut(t *testing.T) {
	for name, c := range map[string]struct{ source, want string }{
		"curried":         {`let add = a => b => c => a + b + c` + "\nfunction main() { return add(1)(2)(3) }", `6`},
		"four deep":       {`let f = a => b => c => d => [a, b, c, d]` + "\nfunction main() { return f(1)(2)(3)(4) }", `[1, 2, 3, 4]`},
		"another caller":  {"function outer() { let x = 41\n return () => { return () => x } }\nfunction run(f) { let y = 99; return f() }\nfunction main() { return run(run(outer())) }", `41`},
		"shared variable": {"function outer() { let x = 0\n return [() => { return () => { x += 1; return x } }, () => x] }\nfunction main() { let [mk, get] = outer(); let inc = mk(); inc(); inc(); return get() }", `2`},
		"own per call":    {"function outer(x) { return () => () => x }\nfunction main() { let a = outer(1); let b = outer(2); return [a()(), b()(), a()()] }", `[1, 2, 1]`},
		"in callbacks":    {"function main() { return [1, 2].map(a => [10, 20].map(b => [100].map(c => a + b + c))) }", `[[[111], [121]], [[112], [122]]]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := eval(t, c.source)
			require.NoError(t, err)
			require.Equal(t, c.want, got.Inspect())
		})
	}
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		body, message string
		line, column  int
		trace         []string
	}{
		"thrown":         {`throw "oops"`, "oops", 2, 7, []string{"main"}},
		"plain native":   {`return assert(false)`, "assertion failed", 2, 15, []string{"main"}},
		"type":           {`return 1 + "a"`, "type error: unsupported operation for int: + on type string", 2, 12, []string{"main"}},
		"attribute":      {`return "a".nope`, `type error: attribute "nope" not found on string object`, 2, 12, []string{"main"}},
		"key":            {`return {a: 1}["b"]`, `key error: "b"`, 2, 15, []string{"main"}},
		"in a callback":  {`return [1].map(x => missing(x))`, "deep", 1, 29, []string{"missing", "<anonymous>", "main"}},
		"too many args":  {`return missing(1, 2)`, `args error: function "missing" takes 1 argument (2 given)`, 2, 19, []string{"main"}},
		"not a function": {`return 5()`, "type error: object is not callable (got int)", 2, 8, []string{"main"}},
		"too early":      {"return later()", `name error: "later" is used before it has a value`, 2, 8, []string{"main"}},
		"panic":          {`return try { explode() } catch (e) { 1 }`, "internal error: exploded", 2, 14, []string{"main"}},
	} {
		t.Run(name, func(t *testing.T) {
			source := `function missing(x) { throw "deep" }; function main() {` + "\n" + c.body + "\n}\nmain()\nfunction later() { return 1 }"
			m := Get(program(t, source), Run{})
			defer m.Put()
			err := m.Top()
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.message, e.Message)
			require.Equal(t, [2]int{c.line, c.column}, [2]int{e.Line, e.Column}, e.Trace)
			var names []string
			for _, f := range e.Trace.Frames {
				names = append(names, f.Function)
			}
			require.Equal(t, append(c.trace, "<top level>"), names)
		})
	}
}

func TestTraceIsBounded(t *testing.T) {
	_, err := eval(t, `function main(n) { return 1 + main(1) }`, object.NewInt(0))
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Message, "stack overflow: more than 1024 nested calls")
	require.Len(t, e.Trace.Frames, 16)
	require.Equal(t, 1008, e.Trace.More)
	require.Contains(t, e.Trace.String(), "and 1008 more")
}

func TestDeadlineCannotBeCaught(t *testing.T) {
	spins := map[string]string{
		"in a callback":    `range(1000000000).each(x => x + 1)`,
		"caught inside":    `range(1000000000).each(x => try { f() } catch (e) { 1 })`,
		"caught around":    `try { range(1000000000).each(x => 1) } catch (e) { return "swallowed" }`,
		"finally":          `try { range(1000000000).each(x => 1) } finally { return "swallowed" }`,
		"swallowed":        `return swallow(() => range(1000000000).each(x => 1))`,
		"again and again":  `range(1000000000).each(x => swallow(() => range(1000000000).each(x => 1)))`,
		"recursion":        "function g(n) { if (n > 0) { g(n - 1); g(n - 1) } }\ng(60)",
		"caught recursion": "function g() { return try { g(); g() } catch (e) { g() } }\ng()",
	}
	for name, body := range spins {
		t.Run(name, func(t *testing.T) {
			source := "function f() { throw \"x\" }\nfunction main() {\n" + body + "\n}"
			start := time.Now()
			_, err := evalRun(t, source, Run{Deadline: start.Add(30 * time.Millisecond)})
			require.ErrorIs(t, err, ErrDeadline)
			require.Less(t, time.Since(start), 5*time.Second)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "deadline exceeded", e.Message)
		})
	}
	t.Run("natives that iterate", func(t *testing.T) {
		_, err := evalRun(t, `function main() { return [...range(1000000000)] }`, Run{Deadline: time.Now().Add(10 * time.Millisecond)})
		require.ErrorIs(t, err, ErrDeadline)
	})
	t.Run("cancel", func(t *testing.T) {
		var cancel atomic.Bool
		time.AfterFunc(10*time.Millisecond, func() { cancel.Store(true) })
		_, err := evalRun(t, `function main() { range(1000000000).each(x => try { x } catch (e) { 1 }) }`, Run{Cancel: &cancel})
		require.ErrorIs(t, err, ErrCancelled)
	})
	t.Run("late result", func(t *testing.T) {
		_, err := evalRun(t, `function main() { return 1 }`, Run{Deadline: time.Now().Add(-time.Second)})
		require.ErrorIs(t, err, ErrDeadline)
	})
}

func TestStackLimit(t *testing.T) {
	wide := "function main() { return len([" + strings.Repeat("1,", 60_000) + "1]) }"
	got, err := eval(t, wide)
	require.NoError(t, err)
	require.Equal(t, "60001", got.Inspect())

	deep := "function f(n, a) { return [" + strings.Repeat("n,", 1000) + "f(n + 1, a)] }\nfunction main() { return f(0, 1) }"
	_, err = eval(t, deep)
	require.ErrorContains(t, err, "stack overflow: too many values")
}

func TestNothingLeaks(t *testing.T) {
	p := program(t, `
let n = 0
let seen = []
let secret = () => n
function main(x) { n += x; seen.append(x); return [n, len(seen)] }`)
	for range 20 {
		m := Get(p, Run{})
		require.NoError(t, m.Top())
		got, err := m.Call(m.Global("main").(*object.Closure), object.NewInt(5))
		require.NoError(t, err)
		require.Equal(t, "[5, 1]", got.Inspect())
		m.Put()
		for _, v := range m.stack {
			require.Nil(t, v)
		}
		for _, f := range m.frames {
			require.Equal(t, frame{}, f)
		}
		for _, v := range m.globals[:cap(m.globals)] {
			require.Nil(t, v)
		}
	}
}

func TestConcurrentRuns(t *testing.T) {
	p := program(t, `
const words = ["a", "b"]
function fib(n) { return if (n < 2) { n } else { fib(n - 1) + fib(n - 2) } }
function main(n) { return [fib(n), words.map(w => w + string(n))] }`)
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				m := Get(p, Run{})
				err := m.Top()
				if err == nil {
					var got object.Object
					got, err = m.Call(m.Global("main").(*object.Closure), object.NewInt(int64(i)))
					if want := fmt.Sprintf(`["a%d", "b%d"]`, i, i); err == nil && !strings.Contains(got.Inspect(), want) {
						err = errors.New(got.Inspect())
					}
				}
				m.Put()
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
}

func TestEnv(t *testing.T) {
	env := natives()
	env["who"] = object.NewBuiltin("who", func(ctx context.Context, _ ...object.Object) (object.Object, error) {
		return object.NewString(Env(ctx).(string)), nil
	})
	bc, err := risor.Compile(t.Context(), `function main() { return [1].map(x => who()) }`, risor.WithEnv(map[string]any{"who": env["who"]}))
	require.NoError(t, err)
	p, err := Load(bc, env)
	require.NoError(t, err)
	m := Get(p, Run{Env: "Ada"})
	defer m.Put()
	require.NoError(t, m.Top())
	got, err := m.Call(m.Global("main").(*object.Closure))
	require.NoError(t, err)
	require.Equal(t, `["Ada"]`, got.Inspect())
}
