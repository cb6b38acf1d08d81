package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	risor "github.com/deepnoodle-ai/risor/v2"
	"github.com/deepnoodle-ai/risor/v2/pkg/builtins"
	"github.com/deepnoodle-ai/risor/v2/pkg/bytecode"
	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	stock "github.com/deepnoodle-ai/risor/v2/pkg/vm"
	"github.com/stretchr/testify/require"
)

// corpus are programs whose last expression both machines must agree on. They
// stay clear of what Risor's own machine gets wrong.
func corpus(t testing.TB) []string {
	files, err := filepath.Glob("testdata/agree/*.risor")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var out []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		out = append(out, strings.Split(string(b), "\n---\n")...)
	}
	return out
}

// both runs a program, whose result is the value of the global "result", on
// Risor's machine and on ours.
func both(t testing.TB, source string) (want, got string, ok bool) {
	env := map[string]any{}
	for name, v := range natives() {
		env[name] = v
	}
	bc, err := risor.Compile(t.Context(), source, risor.WithEnv(env))
	if err != nil {
		return "", "", false
	}
	theirs, err := stock.New(bc, stock.WithGlobals(env), stock.WithMaxSteps(100_000))
	require.NoError(t, err)
	if err = theirs.Run(t.Context()); err == nil {
		var v object.Object
		if v, err = theirs.Get("result"); err == nil && v != nil {
			want = v.Inspect()
		}
	}
	if err != nil {
		want = "error: " + once(message(err))
	}

	p, err := Load(bc, natives())
	if err != nil { // what Load refuses on purpose
		return want, "", false
	}
	m := Get(p, Run{Deadline: time.Now().Add(2 * time.Second)})
	defer m.Put()
	if err := m.Top(); err != nil {
		var e *Error
		require.ErrorAs(t, err, &e)
		return want, "error: " + e.Message, !errors.Is(err, ErrDeadline)
	}
	if v := m.Global("result"); v != nil {
		got = v.Inspect()
	}
	return want, got, true
}

// once removes the kind that Risor's machine puts in front of a message that
// begins with it.
func once(text string) string {
	for _, kind := range []string{"type error: ", "value error: "} {
		text = strings.Replace(text, kind+kind, kind, 1)
		text = strings.Replace(text, "runtime error: "+kind, kind, 1)
	}
	return text
}

func TestAgreesWithRisor(t *testing.T) {
	for _, source := range corpus(t) {
		want, got, ok := both(t, source)
		require.True(t, ok, source)
		require.Equal(t, want, got, source)
	}
}

// compiles returns nil for what does not compile, or makes the compiler panic.
func compiles(source string, env map[string]any) (bc *bytecode.Code) {
	defer func() {
		if recover() != nil {
			bc = nil
		}
	}()
	bc, _ = risor.Compile(context.Background(), source, risor.WithEnv(env))
	return bc
}

func shortRange(ctx context.Context, args ...object.Object) (object.Object, error) {
	for _, arg := range args {
		if n, ok := arg.(*object.Int); ok && (n.Value() > 1000 || n.Value() < -1000) {
			return nil, errors.New("too long")
		}
	}
	return builtins.Range(ctx, args...)
}

// FuzzMachine runs programs until a short deadline: no program may bring the
// machine itself down or keep it past the deadline for long.
func FuzzMachine(f *testing.F) {
	for _, source := range corpus(f) {
		f.Add(source)
	}
	f.Add("function f() { try { return f() } catch (e) { throw e } finally { f() } }\nf()")
	f.Add("let f = a => b => c => d => [a, b, c, d]\nlet result = f(1)(2)(3)(4)")
	env := map[string]any{}
	for name, v := range natives() {
		env[name] = v
	}
	env["range"] = object.NewBuiltin("range", shortRange) // spins in natives are not the machine's
	f.Fuzz(func(t *testing.T, source string) {
		if len(source) > 2000 || strings.Contains(source, "repeat") {
			return
		}
		hang := time.AfterFunc(5*time.Second, func() { panic("hangs: " + source) })
		defer hang.Stop()
		bc := compiles(source, env)
		if bc == nil {
			return
		}
		globals := natives()
		globals["range"] = env["range"].(object.Object)
		p, err := Load(bc, globals)
		if err != nil {
			require.ErrorContains(t, err, "verify instruction") // Risor's compiler makes no value of some assignments
			return
		}
		m := Get(p, Run{Deadline: time.Now().Add(20 * time.Millisecond)})
		defer m.Put()
		var e *Error
		if err := m.Top(); err != nil {
			require.ErrorAs(t, err, &e)
			require.NotContains(t, e.Message, "internal error: runtime error", source)
		}
	})
}

func BenchmarkRun(b *testing.B) {
	for _, c := range []struct{ name, source string }{
		{"hello", "function main(x) { return {hello: x} }"},
		{"fib15", "function fib(n) { if (n < 2) { return n }; return fib(n - 1) + fib(n - 2) }\nfunction main(x) { return fib(15) }"},
		{"map100", "const l = list(range(100))\nfunction main(x) { return l.map(n => n * 2).filter(n => n > 50) }"},
	} {
		p := program(b, c.source)
		x := object.NewString("Ada")
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			run := Run{Deadline: time.Now().Add(time.Hour)}
			for b.Loop() {
				m := Get(p, run)
				if err := m.Top(); err != nil {
					b.Fatal(err)
				}
				if _, err := m.Call(m.Global("main").(*object.Closure), x); err != nil {
					b.Fatal(err)
				}
				m.Put()
			}
		})
		b.Run(c.name+"/risor", func(b *testing.B) {
			env := map[string]any{}
			for name, v := range natives() {
				env[name] = v
			}
			env["who"] = x
			bc, err := risor.Compile(b.Context(), c.source+"\nmain(who)", risor.WithEnv(env))
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := stock.Run(b.Context(), bc, stock.WithGlobals(env)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
