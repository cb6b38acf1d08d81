package vm

import (
	"fmt"
	"math"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/deepnoodle-ai/risor/v2/pkg/op"
)

func (m *Machine) loadAttr(name string) error {
	v := m.pop()
	attr, found := v.GetAttr(name)
	if !found {
		return m.runtimeError(object.ErrType, "attribute %q not found on %s object", name, v.Type())
	}
	if resolver, ok := attr.(object.AttrResolver); ok {
		resolved, err := resolver.ResolveAttr(m.ctx, name)
		if err != nil {
			return err
		}
		attr = resolved
	}
	m.push(attr)
	return nil
}

func (m *Machine) loadAttrOrNil(name string) {
	attr, found := m.pop().GetAttr(name)
	if found {
		if resolver, ok := attr.(object.AttrResolver); ok {
			resolved, err := resolver.ResolveAttr(m.ctx, name)
			attr, found = resolved, err == nil
		}
	}
	if !found {
		attr = object.Nil
	}
	m.push(attr)
}

func (m *Machine) loadClosure(f *frame, opcode op.Code) {
	fn := f.code.constants[f.fetch()].(*object.Closure)
	if opcode == opLoadScopedConst {
		m.push(f.closure(fn, nil, true))
		return
	}
	captured := m.take(int(f.fetch()))
	cells := make([]*object.Cell, len(captured), len(captured)+1)
	for i, v := range captured {
		cells[i] = v.(*object.Cell)
	}
	m.push(f.closure(fn, cells, opcode == opLoadScopedClosure))
}

func (m *Machine) compare(kind op.CompareOpType) error {
	b, a := m.pop(), m.pop()
	result, err := object.Compare(kind, a, b)
	if err != nil {
		return m.located(err)
	}
	m.push(result)
	return nil
}

func (m *Machine) binary(kind op.BinaryOpType) error {
	b, a := m.pop(), m.pop()
	if kind >= op.Power && kind <= op.RShift {
		if done, err := m.powerOrShift(kind, a, b); done || err != nil {
			return err
		}
	}
	result, err := object.BinaryOp(kind, a, b)
	if err != nil {
		return m.located(err)
	}
	m.push(result)
	return nil
}

// powerOrShift does what Risor's integers do differently on different processors: they
// raise to a power in floating point, and convert back what does not fit; they shift by
// the machine's word. It reports whether it pushed a result.
func (m *Machine) powerOrShift(kind op.BinaryOpType, a, b object.Object) (done bool, err error) {
	x, ok := wholeNumber(a)
	if !ok {
		return false, nil
	}
	if f, ok := b.(*object.Float); ok && kind == op.Power {
		if p := math.Pow(float64(x), f.Value()); !(p >= math.MinInt64 && p < 1<<63) {
			return false, m.runtimeError(object.ErrValue, "%d ** %g does not fit into 64 bits; use float(%[1]d)", x, f.Value())
		}
		return false, nil
	}
	y, ok := wholeNumber(b)
	if !ok {
		return false, nil
	}
	var result int64
	switch {
	case kind == op.Power && y < 0 && x != 0:
		return false, nil // a fraction
	case kind == op.Power:
		var fits bool
		if result, fits = power(x, y); !fits {
			return false, m.runtimeError(object.ErrValue, "%d ** %d does not fit into 64 bits; use float(%[1]d)", x, y)
		}
	case y < 0:
		return false, m.runtimeError(object.ErrValue, "a shift by %d, which is negative", y)
	case kind == op.LShift:
		result = x << uint64(y)
	default:
		result = x >> uint64(y)
	}
	m.push(object.NewInt(result))
	return true, nil
}

func wholeNumber(v object.Object) (int64, bool) {
	switch v := v.(type) {
	case *object.Int:
		return v.Value(), true
	case *object.Byte:
		return int64(v.Value()), true
	}
	return 0, false
}

// power raises x to the power of y by squaring. It reports whether the result fits.
func power(x, y int64) (result int64, fits bool) {
	if y < 0 {
		return 0, false
	}
	result = 1
	for {
		if y&1 == 1 {
			if result, fits = times(result, x); !fits {
				return 0, false
			}
		}
		if y >>= 1; y == 0 {
			return result, true
		}
		if x, fits = times(x, x); !fits {
			return 0, false
		}
	}
}

func times(x, y int64) (product int64, fits bool) {
	product = x * y
	return product, x == 0 || product/x == y && (x != -1 || y != math.MinInt64)
}

func (m *Machine) negate() error {
	switch v := m.pop().(type) {
	case *object.Int:
		m.push(object.NewInt(-v.Value()))
	case *object.Float:
		m.push(object.NewFloat(-v.Value()))
	default:
		return m.runtimeError(object.ErrType, "object is not a number (got %s)", v.Type())
	}
	return nil
}

// buildMap makes a map of n pairs; of equal keys the first wins, as in Risor.
func (m *Machine) buildMap(n int) error {
	items := make(map[string]object.Object, n)
	for range n {
		value, k := m.pop(), m.pop()
		key, ok := k.(*object.String)
		if !ok {
			return m.runtimeError(object.ErrType, "map key must be string (got %s)", k.Type())
		}
		items[key.Value()] = value
	}
	m.push(object.NewMap(items))
	return nil
}

// buildString joins the parts of a template.
func (m *Machine) buildString(n int) {
	parts := make([]string, n)
	for i, v := range m.stack[m.sp-n : m.sp] {
		switch v := v.(type) {
		case *object.String:
			parts[i] = v.Value()
		case *Caught:
			parts[i] = v.String()
		case *object.Error:
			parts[i] = v.String()
		default:
			parts[i] = v.Inspect()
		}
	}
	m.sp -= n
	m.push(object.NewString(strings.Join(parts, "")))
}

// growList appends to the list below, which a literal or a call with a spread
// is making and which nobody else has seen yet.
func (m *Machine) growList(opcode op.Code) error {
	v, l := m.pop(), m.stack[m.sp-1]
	list, ok := l.(*object.List)
	if !ok {
		return m.runtimeError(object.ErrType, "cannot extend non-list (got %s)", l.Type())
	}
	if opcode == op.ListAppend {
		list.Append(v)
		return nil
	}
	items, ok := v.(object.Enumerable)
	if !ok {
		return m.runtimeError(object.ErrType, "spread requires an enumerable (got %s)", v.Type())
	}
	byKey := yieldsKeys(v)
	items.Enumerate(m.ctx, func(key, value object.Object) bool {
		if byKey {
			value = key
		}
		list.Append(value)
		return m.spend()
	})
	return m.halted
}

// yieldsKeys reports whether iterating over v gives its keys.
func yieldsKeys(v object.Object) bool {
	if _, ok := v.(*object.Map); ok {
		return true
	}
	keyed, ok := v.(Keyed)
	return ok && keyed.YieldsKeys()
}

// Keyed is implemented by map-like objects of the host: spreading and unpacking
// them gives their keys, as it does for maps.
type Keyed interface{ YieldsKeys() bool }

// Spreader is implemented by map-like objects of the host that spread into a map as
// another map than the one that scripts read.
type Spreader interface{ Spread() *object.Map }

// growMap merges into the map below, which a literal with a spread is making.
func (m *Machine) growMap(opcode op.Code) error {
	v := m.pop()
	if opcode == op.MapSet {
		k := m.pop()
		key, ok := k.(*object.String)
		target, isMap := m.stack[m.sp-1].(*object.Map)
		if !ok || !isMap {
			return m.runtimeError(object.ErrType, "map key must be string (got %s)", k.Type())
		}
		target.Set(key.Value(), v)
		return nil
	}
	target, isMap := m.stack[m.sp-1].(*object.Map)
	source, ok := v.(object.Enumerable)
	if s, ok := v.(Spreader); ok {
		source = s.Spread()
	}
	if !isMap || !ok || !yieldsKeys(v) {
		return m.runtimeError(object.ErrType, "spread requires a map (got %s)", v.Type())
	}
	source.Enumerate(m.ctx, func(key, value object.Object) bool {
		if k, ok := key.(*object.String); ok {
			target.Set(k.Value(), value)
		}
		return m.spend()
	})
	return m.halted
}

// spend counts one step of a loop inside an instruction. It reports whether the
// loop may go on.
func (m *Machine) spend() bool {
	m.fuel--
	return m.fuel >= 0 || m.refuel() == nil
}

// subscript loads an item; the container is below its key.
func (m *Machine) subscript() error {
	c, err := m.containerAt(2)
	if err != nil {
		return err
	}
	result, fault := c.GetItem(m.stack[m.sp-1])
	return m.replace(2, result, fault)
}

// storeSubscript sets an item; the value is below the container and its key.
func (m *Machine) storeSubscript() error {
	c, err := m.containerAt(2)
	if err != nil {
		return err
	}
	if fault := c.SetItem(m.stack[m.sp-1], m.stack[m.sp-3]); fault != nil {
		return fault.Value()
	}
	m.sp -= 3
	return nil
}

func (m *Machine) contains(invert bool) error {
	c, err := m.containerAt(2)
	if err != nil {
		return err
	}
	found := c.Contains(m.stack[m.sp-1])
	if invert {
		found = object.Not(found)
	}
	return m.replace(2, found, nil)
}

func (m *Machine) slice() error {
	c, err := m.containerAt(3)
	if err != nil {
		return err
	}
	result, fault := c.GetSlice(object.Slice{Start: m.stack[m.sp-1], Stop: m.stack[m.sp-2]})
	return m.replace(3, result, fault)
}

func (m *Machine) length() error {
	c, err := m.containerAt(1)
	if err != nil {
		return err
	}
	return m.replace(1, c.Len(), nil)
}

func (m *Machine) containerAt(depth int) (object.Container, error) {
	v := m.stack[m.sp-depth]
	c, ok := v.(object.Container)
	if !ok {
		return nil, m.runtimeError(object.ErrType, "object is not a container (got %s)", v.Type())
	}
	return c, nil
}

// replace puts the result of an operation in place of its n operands.
func (m *Machine) replace(n int, result object.Object, fault *object.Error) error {
	if fault != nil {
		return fault.Value()
	}
	m.sp -= n
	m.push(result)
	return nil
}

// unpack pushes the n items of a container; missing ones are null.
func (m *Machine) unpack(n int) error {
	v := m.pop()
	c, ok := v.(object.Container)
	if !ok {
		return m.runtimeError(object.ErrType, "object is not a container (got %s)", v.Type())
	}
	if size := c.Len().Value(); size > int64(n) {
		return fmt.Errorf("unpack count mismatch: %d > %d", size, n)
	}
	byKey := yieldsKeys(v)
	count := 0
	c.Enumerate(m.ctx, func(key, value object.Object) bool {
		if byKey {
			value = key
		}
		m.push(value)
		count++
		return count < n
	})
	for ; count < n; count++ {
		m.push(object.Nil)
	}
	return nil
}
