package risor

import (
	"errors"
	"math"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/risor/module"
)

// harden turns strings of a value into values that JSON cannot describe.
func harden(v object.Object) object.Object {
	switch v := v.(type) {
	case *object.List:
		for i, item := range v.Value() {
			v.Value()[i] = harden(item)
		}
	case *object.Map:
		for k, item := range v.Value() {
			v.Value()[k] = harden(item)
		}
	case *object.String:
		s := v.Value()
		switch {
		case strings.HasPrefix(s, "bytes:"):
			return object.NewBytes([]byte(s[6:]))
		case strings.HasPrefix(s, "raw:"):
			return object.NewString(s[4:] + "\xff")
		case strings.HasPrefix(s, "error:"):
			return object.NewError(errors.New(s))
		case s == "func":
			return module.Environment()["len"]()
		case s == "nan":
			return object.NewFloat(math.NaN())
		case s == "range":
			return object.NewRange(0, 1<<40, 1)
		}
	}
	return v
}
