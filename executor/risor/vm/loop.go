package vm

import (
	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/deepnoodle-ai/risor/v2/pkg/op"
)

// execute runs until the frame base returns; its result is then on the stack.
// After an error the caller restores the stack and the frames.
func (m *Machine) execute(base int) error {
	for {
		err := m.step()
		if err == nil {
			return nil
		}
		if !m.catch(base, err) {
			return err
		}
	}
}

// step runs instructions until an entry frame returns, or until the first
// error. It holds the frequent ones; the others are in rare.
func (m *Machine) step() error {
	f := &m.frames[m.fp]
	for {
		if m.fuel--; m.fuel < 0 {
			if err := m.refuel(); err != nil {
				return err
			}
		}
		opcode := f.code.ops[f.ip]
		f.ip++
		switch opcode {
		case op.LoadConst:
			m.push(f.code.constants[f.fetch()])
		case op.LoadFast:
			v := f.locals[f.fetch()]
			if v == nil {
				return m.unset(f.code.source.LocalNameAt(int(f.code.ops[f.ip-1])))
			}
			m.push(v)
		case op.StoreFast:
			f.locals[f.fetch()] = m.pop()
		case op.LoadGlobal:
			v := m.globals[f.fetch()]
			if v == nil {
				return m.unset(m.globalName(int(f.code.ops[f.ip-1])))
			}
			m.push(v)
		case op.StoreGlobal:
			m.globals[f.fetch()] = m.pop()
		case op.LoadFree:
			v := f.fn.FreeVar(int(f.fetch())).Value()
			if v == nil {
				return m.unset("captured variable")
			}
			m.push(v)
		case op.StoreFree:
			f.fn.FreeVar(int(f.fetch())).Set(m.pop())
		case op.LoadAttr:
			if err := m.loadAttr(f.code.names[f.fetch()]); err != nil {
				return err
			}
		case op.Call:
			if err := m.call(int(f.fetch())); err != nil {
				return err
			}
			f = &m.frames[m.fp]
		case op.ReturnValue:
			if m.leave(m.pop()) {
				return nil
			}
			f = &m.frames[m.fp]
		case op.PopJumpForwardIfTrue:
			f.jumpIf(m.pop().IsTruthy())
		case op.PopJumpForwardIfFalse:
			f.jumpIf(!m.pop().IsTruthy())
		case op.PopJumpForwardIfNotNil:
			f.jumpIf(m.pop() != object.Nil)
		case op.PopJumpForwardIfNil:
			f.jumpIf(m.pop() == object.Nil)
		case op.JumpForward:
			f.ip += int(f.fetch()) - 2
		case op.CompareOp:
			if err := m.compare(op.CompareOpType(f.fetch())); err != nil {
				return err
			}
		case op.BinaryOp:
			if err := m.binary(op.BinaryOpType(f.fetch())); err != nil {
				return err
			}
		case op.PopTop:
			m.sp--
		case op.Copy:
			m.push(m.stack[m.sp-1-int(f.fetch())])
		case op.Nil:
			m.push(object.Nil)
		case op.Nop:
		case op.Halt:
			return nil
		case op.CallSpread:
			if err := m.callSpread(); err != nil {
				return err
			}
			f = &m.frames[m.fp]
		case op.EndFinally:
			done, err := m.endFinally(f)
			if done || err != nil {
				return err
			}
			f = &m.frames[m.fp]
		default:
			if err := m.rare(f, opcode); err != nil {
				return err
			}
		}
	}
}

// rare runs the instructions that step leaves to it. None changes the frame.
func (m *Machine) rare(f *frame, opcode op.Code) error {
	switch opcode {
	case op.True:
		m.push(object.True)
	case op.False:
		m.push(object.False)
	case op.LoadAttrOrNil:
		m.loadAttrOrNil(f.code.names[f.fetch()])
	case op.StoreAttr:
		target, value := m.pop(), m.pop()
		return target.SetAttr(f.code.names[f.fetch()], value)
	case op.LoadClosure, opLoadScopedClosure, opLoadScopedConst:
		m.loadClosure(f, opcode)
	case op.MakeCell:
		index := int(f.fetch())
		m.push(f.cell(index, int(f.fetch())))
	case op.Partial:
		args := m.take(int(f.fetch()))
		m.push(object.NewPartial(m.pop(), args))
	case op.BuildList:
		m.push(object.NewList(m.take(int(f.fetch()))))
	case op.BuildMap:
		return m.buildMap(int(f.fetch()))
	case op.BuildString:
		m.buildString(int(f.fetch()))
	case op.ListAppend, op.ListExtend:
		return m.growList(opcode)
	case op.MapMerge, op.MapSet:
		return m.growMap(opcode)
	case op.BinarySubscr:
		return m.subscript()
	case op.StoreSubscr:
		return m.storeSubscript()
	case op.ContainsOp:
		return m.contains(f.fetch() == 1)
	case op.Slice:
		return m.slice()
	case op.Length:
		return m.length()
	case op.Unpack:
		return m.unpack(int(f.fetch()))
	case op.UnaryNegative:
		return m.negate()
	case op.UnaryNot:
		m.push(object.NewBool(!m.pop().IsTruthy()))
	case op.Swap:
		other := m.sp - 1 - int(f.fetch())
		m.stack[m.sp-1], m.stack[other] = m.stack[other], m.stack[m.sp-1]
	case op.PushExcept:
		m.tries = append(m.tries, try{handler: &f.code.handlers[f.fetch()], sp: m.sp})
		f.ip++ // the second operand
	case op.PopExcept:
		m.tries = m.tries[:len(m.tries)-1]
	case op.Throw:
		return thrown(m.pop())
	default:
		return m.runtimeError(object.ErrRuntime, "unknown opcode: %d", opcode)
	}
	return nil
}

func (f *frame) fetch() op.Code {
	operand := f.code.ops[f.ip]
	f.ip++
	return operand
}

func (f *frame) jumpIf(yes bool) {
	delta := int(f.fetch())
	if yes {
		f.ip += delta - 2
	}
}

func (m *Machine) push(v object.Object) {
	if m.sp >= len(m.stack) {
		m.reserve(1)
	}
	m.stack[m.sp] = v
	m.sp++
}

func (m *Machine) pop() object.Object {
	m.sp--
	return m.stack[m.sp]
}

// take pops the n topmost values into a slice of their own, the deepest first.
func (m *Machine) take(n int) []object.Object {
	m.sp -= n
	return append(make([]object.Object, 0, n), m.stack[m.sp:m.sp+n]...)
}

// reserve makes room for n more values. It panics with errStack at the limit;
// guard turns that into the run's error.
func (m *Machine) reserve(n int) {
	if m.sp+n <= len(m.stack) {
		return
	}
	if m.sp+n > maxStack {
		panic(errStack)
	}
	stack := make([]object.Object, min(max(2*len(m.stack), m.sp+n), maxStack))
	copy(stack, m.stack[:m.sp])
	m.stack = stack
	for i := 0; i <= m.fp; i++ {
		if f := &m.frames[i]; !f.captured && len(f.locals) > 0 {
			first := f.callee + 1
			f.locals = stack[first : first+len(f.locals) : first+len(f.locals)]
		}
	}
}

func (m *Machine) globalName(index int) string {
	return m.program.main.source.GlobalNameAt(index)
}
