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

// toByte is the builtin byte.
func toByte(ctx context.Context, args ...object.Object) (object.Object, error) {
	if err := vm.Tick(ctx); err != nil {
		return nil, err
	}
	if len(args) == 1 {
		if f, ok := args[0].(*object.Float); ok && !(f.Value() > -1 && f.Value() < 256) {
			return nil, object.ValueErrorf("byte(): %g is not between 0 and 255", f.Value())
		}
	}
	return builtins.Byte(ctx, args...)
}
