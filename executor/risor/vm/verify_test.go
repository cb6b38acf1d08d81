package vm

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deepnoodle-ai/risor/v2/pkg/bytecode"
	"github.com/deepnoodle-ai/risor/v2/pkg/op"
	"github.com/stretchr/testify/require"
)

// TestVerifyRefuses loads code that takes from the stack what it did not put there.
func TestVerifyRefuses(t *testing.T) {
	load := func(instructions ...op.Code) error {
		_, err := Load(bytecode.NewCode(bytecode.CodeParams{Name: "hostile", Instructions: instructions, Constants: []any{1}}), nil)
		return err
	}
	require.NoError(t, load(op.LoadConst, 0, op.ReturnValue))
	for want, instructions := range map[string][]op.Code{
		"it takes 1 values, and the function has 0": {op.PopTop},
		"it takes 3 values, and the function has 2": {op.Nil, op.Nil, op.Call, 2},
		"it takes 2 values, and the function has 1": {op.Nil, op.Swap, 1},
		"it takes 4 values, and the function has 3": {op.Nil, op.Nil, op.Nil, op.BuildMap, 2},
		"constant 1 of 1":           {op.LoadConst, 1},
		"constant 0 is no function": {op.LoadClosure, 0, 0},
		"local 0 of 0":              {op.LoadFast, 0},
		"global 0 of 0":             {op.LoadGlobal, 0},
		"name 7 of 0":               {op.Nil, op.LoadAttr, 7},
		"a jump by 0":               {op.JumpForward, 0},
		"a jump to 3, where no instruction begins": {op.JumpForward, 3, op.LoadConst, 0},
		"a jump to 9, where no instruction begins": {op.JumpForward, 9},
		"no machine runs opcode 10":                {op.JumpBackward, 2},
		"unknown opcode 200":                       {opLoadScopedConst, 0},
		"unknown opcode 999":                       {999},
		"no try to end":                            {op.PopExcept},
		"no finally block ends here":               {op.EndFinally},
		"is reached with 0 values and with 1":      {op.True, op.PopJumpForwardIfTrue, 3, op.Nil, op.ReturnValue},
	} {
		require.ErrorContains(t, load(instructions...), want)
	}
	// What Risor's compiler makes of an assignment as an argument.
	for _, source := range []string{
		"let x = 1\nlet f = (a, b) => [type(a), b]\nf(x = 5, 7)", "function f(text) { return len(text = 'abc') }\nf(1)",
		"let n = 1\n[1].append(n++)", "let n = 1\n[1, 2, len(n += 1)]", "let m = {a: 1}\n1 + len(m.a = 2)",
	} {
		_, err := Load(compile(t, source), natives())
		require.ErrorContains(t, err, "values, and the function has", source)
	}
}

// TestVerifyCutCode cuts code off at every instruction and in every operand: it is
// refused or runs, by the loader and by the verifier without it.
func TestVerifyCutCode(t *testing.T) {
	for _, source := range corpus(t) {
		bc := compiles(source, environment())
		if bc == nil {
			continue
		}
		ops := make([]op.Code, bc.InstructionCount())
		for i := range ops {
			ops[i] = bc.InstructionAt(i)
		}
		for n := range ops {
			require.NotPanics(t, func() { _, _ = Load(with(bc, ops[:n], nil), natives()) }, "%d of %s", n, source)
		}
		p, err := Load(bc, natives())
		require.NoError(t, err)
		for _, c := range p.codes {
			for n := 1; n < len(c.ops); n++ {
				cut := *c
				cut.ops = c.ops[:n]
				require.NotPanics(t, func() { _ = cut.verify(len(p.globals)) }, "%d of %q in %s", n, c.name(), source)
			}
		}
	}
	for _, opcode := range []op.Code{op.LoadConst, op.LoadClosure, op.PushExcept, opLoadScopedClosure, 202, 255, 256, 65535} {
		for operands := range 2 {
			c := code{source: bytecode.NewCode(bytecode.CodeParams{Name: "cut"}), ops: append([]op.Code{opcode}, make([]op.Code, operands)...), constants: nil}
			require.Error(t, c.verify(0), "%d with %d operands", opcode, operands)
		}
	}
}

// TestVerifyFinally loads finally blocks in finally blocks.
func TestVerifyFinally(t *testing.T) {
	deep := func(n int) string {
		return strings.Repeat("try { 1 } catch (e) { 2 } finally { ", n) + "3" + strings.Repeat("}", n)
	}
	require.Equal(t, 100, strings.Count(deep(100), "finally"))
	begun := time.Now()
	program(t, deep(100))
	require.Less(t, time.Since(begun), 2*time.Second)
	p := program(t, "function f(n) { return [1, try { if (n) { return 2 }; 3 } finally { try { throw 'x' } catch (e) { 4 } finally { 5 } }, 6] }\nlet result = [f(true), f(false)]")
	m := Get(p, Run{})
	defer m.Put()
	require.NoError(t, m.Top())
	require.Equal(t, "[2, [1, 3, 6]]", m.Global("result").Inspect())
}

// FuzzVerify changes bytecode: what loads takes nothing from below its stack.
func FuzzVerify(f *testing.F) {
	sources := corpus(f)
	for i := range sources {
		f.Add(uint16(i), uint16(i*7), uint16(i%90), uint16(3), uint16(0), []byte{})
		f.Add(uint16(i), uint16(i*7), uint16(i%90), uint16(3), uint16(i), []byte{0, 1, byte(i)})
	}
	f.Fuzz(func(t *testing.T, program, at, value, second, cut uint16, blocks []byte) {
		bc := compiles(sources[int(program)%len(sources)], environment())
		if bc == nil || strings.Contains(sources[int(program)%len(sources)], "repeat") {
			return
		}
		ops := make([]op.Code, bc.InstructionCount())
		for i := range ops {
			ops[i] = bc.InstructionAt(i)
		}
		ops[int(at)%len(ops)] = op.Code(value)
		ops[int(at+second)%len(ops)] = op.Code(second)
		ops = ops[:len(ops)-int(cut)%len(ops)]
		p, err := Load(with(bc, ops, blocks), natives())
		if err != nil {
			return
		}
		m := Get(p, Run{Deadline: time.Now().Add(20 * time.Millisecond)})
		defer m.Put()
		if err := m.Top(); err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			require.NotContains(t, e.Message, "index out of range [-")
			require.NotContains(t, e.Message, "slice bounds out of range [-")
		}
	})
}

// with is bc with other instructions at its top level, and with changes of its try
// expressions: handler, field and value of each.
func with(bc *bytecode.Code, ops []op.Code, blocks []byte) *bytecode.Code {
	p := bytecode.CodeParams{Name: bc.Name(), Instructions: ops, LocalCount: bc.LocalCount(), GlobalCount: bc.GlobalCount()}
	for i := range bc.ConstantCount() {
		p.Constants = append(p.Constants, bc.ConstantAt(i))
	}
	for i := range bc.NameCount() {
		p.Names = append(p.Names, bc.NameAt(i))
	}
	for i := range bc.GlobalCount() {
		p.GlobalNames = append(p.GlobalNames, bc.GlobalNameAt(i))
	}
	for i := range bc.ExceptionHandlerCount() {
		p.ExceptionHandlers = append(p.ExceptionHandlers, bc.ExceptionHandlerAt(i))
	}
	for n := len(p.ExceptionHandlers); n > 0 && len(blocks) >= 3; blocks = blocks[3:] {
		h := &p.ExceptionHandlers[int(blocks[0])%n]
		fields := []*int{&h.TryStart, &h.TryEnd, &h.CatchStart, &h.FinallyStart}
		*fields[int(blocks[1])%len(fields)] = int(int8(blocks[2]))
	}
	return bytecode.NewCode(p)
}

func environment() map[string]any {
	env := map[string]any{}
	for name, v := range natives() {
		env[name] = v
	}
	return env
}

// BenchmarkVerify measures what the check adds to the load of 1,000 lines.
func BenchmarkVerify(b *testing.B) {
	line := "function f%() { let a = [1, 2]; return try { if (a[0] == 1 && len(a) > 1) { a.map(x => x + 1) } else { 3 } } catch (e) { e.message() } }\n"
	var source strings.Builder
	for i := range 400 {
		source.WriteString(strings.Replace(line, "%", strings.Repeat("a", 1+i%20)+string(rune('a'+i/20)), 1))
	}
	p := program(b, source.String())
	codes := append(slices.Collect(func(yield func(*code) bool) {
		for _, c := range p.codes {
			if !yield(c) {
				return
			}
		}
	}), p.main)
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range codes {
			if err := c.verify(len(p.globals)); err != nil {
				b.Fatal(err)
			}
		}
	}
}
