package module

import (
	"context"

	"github.com/deepnoodle-ai/risor/v2/pkg/builtins"
	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/risor/vm"
)

// toInt is the builtin int. Go leaves it to the processor what the integer is of a float
// that does not fit, so Risor's own gives different numbers on different nodes.
func toInt(ctx context.Context, args ...object.Object) (object.Object, error) {
	if err := vm.Tick(ctx); err != nil {
		return nil, err
	}
	if len(args) == 1 {
		// 1 << 63 is exact as a float, and the largest integer is not.
		if f, ok := args[0].(*object.Float); ok && !(f.Value() >= -(1<<63) && f.Value() < 1<<63) {
			return nil, object.ValueErrorf("int(): %g does not fit into 64 bits", f.Value())
		}
	}
	return builtins.Int(ctx, args...)
}

// toByte is the builtin byte. Risor's own keeps the lowest eight bits of an int, and
// leaves floats to the processor.
func toByte(ctx context.Context, args ...object.Object) (object.Object, error) {
	if err := vm.Tick(ctx); err != nil {
		return nil, err
	}
	if len(args) == 1 && !fitsByte(args[0]) {
		return nil, object.ValueErrorf("byte(): %s is not between 0 and 255", args[0].Inspect())
	}
	return builtins.Byte(ctx, args...)
}

// toBytes is the builtin bytes, which takes a list of such numbers.
func toBytes(ctx context.Context, args ...object.Object) (object.Object, error) {
	if err := vm.Tick(ctx); err != nil {
		return nil, err
	}
	if len(args) == 1 {
		if list, ok := args[0].(*object.List); ok {
			for i, item := range list.Value() {
				if !fitsByte(item) {
					return nil, object.ValueErrorf("bytes(): %s at index %d is not between 0 and 255", item.Inspect(), i)
				}
			}
		}
	}
	return builtins.Bytes(ctx, args...)
}

// fitsByte reports whether the value is no number, or one that a byte holds.
func fitsByte(v object.Object) bool {
	switch v := v.(type) {
	case *object.Int:
		return v.Value() >= 0 && v.Value() <= 255
	case *object.Float:
		return v.Value() > -1 && v.Value() < 256
	}
	return true
}
