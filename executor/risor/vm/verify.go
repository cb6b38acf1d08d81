package vm

import (
	"errors"
	"fmt"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/deepnoodle-ai/risor/v2/pkg/op"
)

// shape is what the machine holds when it reaches an instruction of a frame.
type shape struct {
	reached bool
	height  int // values on the operand stack, above the locals
	tries   int // active try expressions
	block   int // the finally block around the instruction, by handler; noBlock: none
}

const noBlock = -1

// verifier proves that no instruction of a code object takes more from the operand
// stack than the frame has put there, whatever way execution takes. It is the data-flow
// analysis that the Java virtual machine made known (The Java Virtual Machine
// Specification, 4.10.2): the shape before each instruction is the same, however it is
// reached. All jumps lead forward, so one pass over the instructions is enough.
//
// A finally block is reached in several ways: from the body, from the catch block, and
// by an error or a return, which leave the stack as it was when the try began. So it
// counts from an empty stack of its own, must leave that empty, and takes nothing from
// below. What follows it is reached from the body and the catch block only.
type verifier struct {
	code    *code
	globals int
	shapes  []shape     // by instruction
	starts  []bool      // where instructions begin
	tries   []begun     // by handler
	finally map[int]int // from the instruction where a finally block begins to its handler
	block   int         // the innermost finally block around the instruction
}

// begun is a try expression whose PushExcept is reached.
type begun struct {
	at     shape
	normal bool // its finally block is reached from the body or the catch block
}

// verify checks c. Each of its functions is verified on its own. The instructions are
// those of c.ops, with the operand of PushExcept replaced by the index of its handler.
func (c *code) verify(globals int) error {
	n := len(c.ops)
	v := &verifier{
		code: c, globals: globals, shapes: make([]shape, n), starts: make([]bool, n), tries: make([]begun, len(c.handlers)), block: noBlock,
	}
	for ip := 0; ip < n; ip += 1 + operands(c.ops[ip]) {
		v.starts[ip] = true
	}
	for i := range c.handlers {
		if at := c.handlers[i].FinallyStart; at > 0 {
			if v.finally == nil {
				v.finally = map[int]int{}
			}
			if _, twice := v.finally[at]; twice {
				return fmt.Errorf("verify %q: two finally blocks begin at %d", c.source.Name(), at)
			}
			v.finally[at] = i
		}
	}
	v.shapes[0] = shape{reached: true, block: noBlock}
	for ip := 0; ip < n; ip += 1 + operands(c.ops[ip]) {
		if err := v.follow(ip); err != nil {
			return fmt.Errorf("verify instruction %d of %q: %w", ip, c.source.Name(), err)
		}
	}
	return nil
}

// operands is how many operands an instruction has; none, if it is unknown.
func operands(opcode op.Code) int {
	switch opcode {
	case opLoadScopedConst:
		opcode = op.LoadConst
	case opLoadScopedClosure:
		opcode = op.LoadClosure
	}
	return info(opcode).OperandCount
}

// info is what Risor knows of one of its opcodes; zero for ours and unknown ones, for
// which its table may have no place.
func info(opcode op.Code) op.Info {
	if opcode >= opLoadScopedConst {
		return op.Info{}
	}
	return op.GetInfo(opcode)
}

// follow checks one instruction, and enters or leaves the finally blocks that begin or
// end before it.
func (v *verifier) follow(ip int) error {
	for v.block != noBlock && v.code.handlers[v.block].TryEnd == ip {
		v.block = v.tries[v.block].at.block
	}
	if handler, ok := v.finally[ip]; ok && v.tries[handler].at.reached {
		if err := v.enterFinally(handler, ip); err != nil {
			return err
		}
	}
	s := v.shapes[ip]
	if !s.reached {
		return nil // nothing leads here
	}
	if s.block != v.block {
		return errors.New("a jump leads into a finally block, or out of one")
	}
	return v.step(ip, s)
}

// enterFinally begins a finally block.
func (v *verifier) enterFinally(handler, ip int) error {
	t := &v.tries[handler]
	if s := v.shapes[ip]; s.reached {
		if s.block != v.block || s.height != t.at.height+1 || s.tries != t.at.tries && s.tries != t.at.tries+1 {
			return fmt.Errorf("a finally block is reached with %d values, not %d", s.height, t.at.height+1)
		}
		t.normal = true
	}
	if t.at.block != v.block {
		return errors.New("a finally block is not around its try")
	}
	v.block = handler
	v.shapes[ip] = shape{reached: true, block: handler}
	return nil
}

// reach notes the shape in which an instruction is reached.
func (v *verifier) reach(ip int, s shape) error {
	if ip < 0 || ip >= len(v.starts) || !v.starts[ip] {
		return fmt.Errorf("a jump to %d, where no instruction begins", ip)
	}
	old := &v.shapes[ip]
	if _, finally := v.finally[ip]; finally && old.reached {
		old.tries = min(old.tries, s.tries) // from the body and from the catch block
		s.tries = old.tries
	}
	if old.reached && *old != s {
		return fmt.Errorf("instruction %d is reached with %d values and with %d", ip, old.height, s.height)
	}
	*old = s
	return nil
}

// step follows an instruction that is reached in a shape.
func (v *verifier) step(ip int, s shape) error {
	opcode := v.code.ops[ip]
	next := ip + 1 + operands(opcode)
	if next > len(v.code.ops) {
		return errors.New("its operands are cut off")
	}
	takes, gives, err := v.effect(opcode, v.code.ops[ip+1:next])
	if err != nil {
		return err
	}
	if s.height < takes {
		return fmt.Errorf("it takes %d values, and the function has %d", takes, s.height)
	}
	s.height += gives - takes
	switch opcode {
	case op.ReturnValue, op.Throw, op.Halt:
		return nil
	case op.JumpForward:
		return v.jump(ip, s)
	case op.PopJumpForwardIfFalse, op.PopJumpForwardIfTrue, op.PopJumpForwardIfNil, op.PopJumpForwardIfNotNil:
		if err := v.jump(ip, s); err != nil {
			return err
		}
	case op.PushExcept:
		if err := v.begin(ip, int(v.code.ops[ip+1]), s); err != nil {
			return err
		}
		s.tries++
	case op.PopExcept:
		if s.tries--; s.tries < 0 {
			return errors.New("no try to end")
		}
	case op.EndFinally:
		return v.endFinally(next, s)
	}
	return v.reach(next, s)
}

// jump follows a jump. Offsets count from the instruction, and lead forward.
func (v *verifier) jump(ip int, s shape) error {
	delta := int(v.code.ops[ip+1])
	if delta < 2 {
		return fmt.Errorf("a jump by %d", delta)
	}
	return v.reach(ip+delta, s)
}

// begin follows the way from a try expression to its catch block.
func (v *verifier) begin(ip, handler int, s shape) error {
	h := &v.code.handlers[handler]
	catchEnd, kept := h.TryEnd, 0
	if h.FinallyStart > 0 {
		catchEnd, kept = h.FinallyStart, 1 // until the end of the finally block
	}
	if h.CatchStart <= ip || h.CatchStart > catchEnd || catchEnd > h.TryEnd || h.TryEnd >= len(v.code.ops) {
		return errors.New("the blocks of a try are not one behind the other")
	}
	v.tries[handler] = begun{at: s}
	if h.CatchStart == catchEnd {
		return nil
	}
	return v.reach(h.CatchStart, shape{true, s.height + 1, s.tries + kept, s.block})
}

// endFinally follows the end of a finally block.
func (v *verifier) endFinally(next int, s shape) error {
	if v.block == noBlock || v.code.handlers[v.block].TryEnd != next {
		return errors.New("no finally block ends here")
	}
	if s.height != 0 || s.tries != 0 {
		return fmt.Errorf("a finally block leaves %d values", s.height)
	}
	t := &v.tries[v.block]
	if !t.normal {
		return nil
	}
	return v.reach(next, shape{true, t.at.height + 1, t.at.tries, t.at.block})
}

// effect is how many values an instruction takes from the stack and how many it puts
// there. It checks what the operands refer to.
func (v *verifier) effect(opcode op.Code, args []op.Code) (takes, gives int, err error) {
	c, first := v.code, 0
	if len(args) > 0 {
		first = int(args[0])
	}
	within := func(what string, n int) error {
		if first >= n {
			return fmt.Errorf("%s %d of %d", what, first, n)
		}
		return nil
	}
	switch opcode {
	case op.Nop, op.Halt, op.JumpForward, op.PopExcept, op.EndFinally:
		return 0, 0, nil
	case op.PushExcept:
		return 0, 0, within("handler", len(c.handlers))
	case op.Nil, op.False, op.True:
		return 0, 1, nil
	case op.LoadConst, opLoadScopedConst:
		return 0, 1, within("constant", len(c.constants))
	case op.LoadFast:
		return 0, 1, within("local", c.locals)
	case op.LoadGlobal:
		return 0, 1, within("global", v.globals)
	case op.LoadFree:
		return 0, 1, nil // how many there are depends on who makes the function
	case op.MakeCell:
		return 0, 1, nil // of a frame further out, perhaps
	case op.StoreFast:
		return 1, 0, within("local", c.locals)
	case op.StoreGlobal:
		return 1, 0, within("global", v.globals)
	case op.StoreFree, op.PopTop, op.ReturnValue, op.Throw,
		op.PopJumpForwardIfFalse, op.PopJumpForwardIfTrue, op.PopJumpForwardIfNil, op.PopJumpForwardIfNotNil:
		return 1, 0, nil
	case op.LoadAttr, op.LoadAttrOrNil:
		return 1, 1, within("name", len(c.names))
	case op.StoreAttr:
		return 2, 0, within("name", len(c.names))
	case op.UnaryNegative, op.UnaryNot, op.Length:
		return 1, 1, nil
	case op.BinaryOp, op.CompareOp, op.BinarySubscr, op.ContainsOp, op.CallSpread, op.ListAppend, op.ListExtend, op.MapMerge:
		return 2, 1, nil
	case op.Slice, op.MapSet:
		return 3, 1, nil
	case op.StoreSubscr:
		return 3, 0, nil
	case op.Call, op.Partial:
		return first + 1, 1, nil
	case op.BuildList, op.BuildString:
		return first, 1, nil
	case op.BuildMap:
		return 2 * first, 1, nil
	case op.Unpack:
		return 1, first, nil
	case op.Copy:
		return first + 1, first + 2, nil
	case op.Swap:
		return first + 1, first + 1, nil
	case op.LoadClosure, opLoadScopedClosure:
		if err = within("constant", len(c.constants)); err == nil {
			if _, ok := c.constants[first].(*object.Closure); !ok {
				err = fmt.Errorf("constant %d is no function", first)
			}
		}
		return int(args[1]), 1, err
	}
	return 0, 0, fmt.Errorf("no machine runs opcode %d", opcode)
}
