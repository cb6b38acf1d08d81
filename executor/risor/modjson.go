package risor

import (
	"errors"
	"fmt"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
)

// maxJSONText bounds what json.stringify makes, in bytes.
const maxJSONText = 64 << 20

func jsonModule() Module {
	return Module{
		Name: "json",
		Doc:  "JSON with exact 64-bit integers and sorted keys.",
		Functions: []Function{
			{
				Name:    "parse",
				Args:    []Arg{{Name: "text", Type: "string|bytes"}},
				Returns: "any",
				Doc: "Read JSON. Integers that fit into 64 bits become ints, other numbers floats; of equal names the last wins. " +
					"Errors: `json_invalid`, with line and column in the message.",
				Example: `json.parse("{\"n\": [1, 2.5, null]}").n`,
				call:    parseJSON,
			},
			{
				Name:    "stringify",
				Args:    []Arg{{Name: "value", Type: "any"}, {Name: "indent", Type: "int", Optional: true}},
				Returns: "string",
				Doc: "Write JSON on one line, or indented by 0 to 8 blanks per level. " +
					"Errors: `json_unsupported` for functions, errors, bytes, NaN, text that is not UTF-8 and values that contain themselves; `json_too_large` over 64 MiB.",
				Example: `json.stringify({b: [1, 2.5], a: "x"}, 2)`,
				call:    stringify,
			},
		},
	}
}

func parseJSON(_ *Call, args []object.Object) (object.Object, error) {
	switch v := args[0].(type) {
	case *object.String:
		return readJSON(v.Value())
	case *object.Bytes:
		return readJSON(v.Value())
	}
	return nil, object.TypeErrorf("json.parse: expected a string or bytes (got %s)", args[0].Type())
}

func stringify(_ *Call, args []object.Object) (object.Object, error) {
	w := jsonWriter{limit: maxJSONText}
	if len(args) == 2 {
		n, ok := args[1].(*object.Int)
		if !ok || n.Value() < 0 || n.Value() > 8 {
			return nil, object.ValueErrorf("json.stringify: indent is a number from 0 to 8 (got %s)", args[1].Inspect())
		}
		w.indent = strings.Repeat(" ", int(n.Value()))
	}
	err := w.value(args[0], 0)
	var e *jsonError
	switch {
	case errors.As(err, &e):
		return nil, &HostError{"json_unsupported", "value" + e.path + ": " + e.reason}
	case err != nil || len(w.buf) > maxJSONText:
		return nil, &HostError{"json_too_large", fmt.Sprintf("the JSON has more than %d bytes", maxJSONText)}
	}
	return object.NewString(string(w.buf)), nil
}
