package vm

import (
	"fmt"

	"github.com/deepnoodle-ai/risor/v2/pkg/bytecode"
	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/deepnoodle-ai/risor/v2/pkg/op"
)

// Opcodes of our own, put in place of LoadConst and LoadClosure for functions
// that need the variables of a frame further out than the one they are made in.
const (
	opLoadScopedConst   op.Code = 200
	opLoadScopedClosure op.Code = 201
)

// Program is loaded bytecode. It is immutable and runs on any number of
// machines at once.
type Program struct {
	main    *code
	codes   map[*bytecode.Code]*code
	all     []*code         // while it loads
	globals []object.Object // what each run starts with; nil: not set yet
	names   map[string]int
}

// code is one function, or the top level.
type code struct {
	source    *bytecode.Code // for locations
	ops       []op.Code      // ends with Halt
	constants []object.Object
	names     []string
	handlers  []bytecode.ExceptionHandler
	locals    int
	self      int // local that holds the function itself; -1: none
	scopes    int // how many frames, outwards of its own, the function needs
}

// Load prepares bytecode, and refuses what would take values from the stack that are not
// its own. Globals that bc was compiled with get their values
// from globals; values are shared by all runs, so they must not change.
func Load(bc *bytecode.Code, globals map[string]object.Object) (*Program, error) {
	p := &Program{codes: map[*bytecode.Code]*code{}, names: map[string]int{}}
	main, err := p.load(bc)
	if err != nil {
		return nil, err
	}
	main.locals = 0 // its variables are globals
	p.main = main
	for _, c := range p.all {
		if err := c.verify(bc.GlobalCount()); err != nil {
			return nil, err
		}
	}
	p.all = nil
	p.globals = make([]object.Object, bc.GlobalCount())
	for i := range p.globals {
		name := bc.GlobalNameAt(i)
		p.globals[i] = globals[name]
		if name != "_" {
			p.names[name] = i
		}
	}
	return p, nil
}

func (p *Program) load(bc *bytecode.Code) (*code, error) {
	c := &code{source: bc, locals: bc.LocalCount(), self: -1}
	for i := range bc.ExceptionHandlerCount() {
		c.handlers = append(c.handlers, bc.ExceptionHandlerAt(i))
	}
	c.names = make([]string, bc.NameCount())
	for i := range c.names {
		c.names[i] = bc.NameAt(i)
	}
	c.constants = make([]object.Object, bc.ConstantCount())
	scoped := map[op.Code]bool{} // constants that are functions with scopes
	for i := range c.constants {
		constant, inner, err := p.constant(bc.ConstantAt(i))
		if err != nil {
			return nil, err
		}
		c.constants[i] = constant
		if inner != nil && inner.scopes > 0 {
			scoped[op.Code(i)] = true
			c.scopes = max(c.scopes, inner.scopes-1)
		}
	}
	p.all = append(p.all, c)
	return c, c.translate(scoped)
}

// constant converts a constant; for a function it returns its code too.
func (p *Program) constant(v any) (object.Object, *code, error) {
	switch v := v.(type) {
	case nil:
		return object.Nil, nil, nil
	case int:
		return object.NewInt(int64(v)), nil, nil
	case int64:
		return object.NewInt(v), nil, nil
	case float64:
		return object.NewFloat(v), nil, nil
	case string:
		return object.NewString(v), nil, nil
	case bool:
		return object.NewBool(v), nil, nil
	case *bytecode.Function:
		c, err := p.load(v.Code())
		if err != nil {
			return nil, nil, err
		}
		c.self = selfLocal(v)
		closure, key := newClosure(v)
		p.codes[key] = c
		return closure, c, nil
	}
	return nil, nil, fmt.Errorf("load constant: unsupported type %T", v)
}

// newClosure makes the value of a function. Its code object is a stub that only
// identifies it: the real one would drag the source text along, and print it.
func newClosure(fn *bytecode.Function) (*object.Closure, *bytecode.Code) {
	key := bytecode.NewCode(bytecode.CodeParams{ID: fn.ID(), Name: fn.Name(), IsNamed: fn.Code().IsNamed()})
	params := bytecode.FunctionParams{ID: fn.ID(), Name: fn.Name(), RestParam: fn.RestParam(), Code: key}
	for i := range fn.ParameterCount() {
		params.Parameters = append(params.Parameters, fn.Parameter(i))
	}
	for i := range fn.DefaultCount() {
		params.Defaults = append(params.Defaults, fn.Default(i))
	}
	return object.NewClosure(bytecode.NewFunction(params)), key
}

// selfLocal finds the local in which a named function finds itself: the first
// of its name behind the parameters.
func selfLocal(fn *bytecode.Function) int {
	if !fn.Code().IsNamed() {
		return -1
	}
	first := fn.ParameterCount()
	if fn.HasRestParam() {
		first++
	}
	for i := first; i < fn.Code().LocalNameCount(); i++ {
		if fn.Code().LocalNameAt(i) == fn.Name() {
			return i
		}
	}
	return -1
}

// translate copies the instructions, puts our own opcodes in, replaces the
// offsets of PushExcept by the index of its handler, and checks that each
// instruction is one that the machine knows.
func (c *code) translate(scoped map[op.Code]bool) error {
	n := c.source.InstructionCount()
	c.ops = make([]op.Code, n, n+1)
	for i := range c.ops {
		c.ops[i] = c.source.InstructionAt(i)
	}
	for i := 0; i < n; {
		opcode := c.ops[i]
		info := info(opcode)
		switch {
		case info.Name == "":
			return fmt.Errorf("load instruction %d of %q: unknown opcode %d", i, c.source.Name(), opcode)
		case i+info.OperandCount >= n:
			return fmt.Errorf("load instruction %d of %q: the operands of %s are cut off", i, c.source.Name(), info.Name)
		}
		switch opcode {
		case op.LoadConst:
			if scoped[c.ops[i+1]] {
				c.ops[i] = opLoadScopedConst
			}
		case op.LoadClosure:
			if scoped[c.ops[i+1]] {
				c.ops[i] = opLoadScopedClosure
			}
		case op.MakeCell:
			c.scopes = max(c.scopes, int(c.ops[i+2]))
		case op.PushExcept:
			handler := c.handlerAt(i)
			if handler < 0 {
				return fmt.Errorf("load instruction %d of %q: no handler begins here", i, c.source.Name())
			}
			c.ops[i+1] = op.Code(handler)
		}
		i += 1 + info.OperandCount
	}
	c.ops = append(c.ops, op.Halt)
	return nil
}

func (c *code) handlerAt(ip int) int {
	for i, h := range c.handlers {
		if h.TryStart == ip {
			return i
		}
	}
	return -1
}

// name is the function's name, for traces.
func (c *code) name() string {
	switch name := c.source.Name(); name {
	case "":
		return "<anonymous>"
	case "__main__":
		return "<top level>"
	default:
		return name
	}
}
