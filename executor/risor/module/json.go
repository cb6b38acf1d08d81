package module

import (
	"errors"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
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
				Doc:     "Read JSON. Integers that fit into 64 bits become ints, other numbers floats; of equal names the last wins.",
				Errors:  []Fault{{"json_invalid", "the text is not JSON; line and column are in the message"}},
				Example: "json.parse(`{\"n\": [1, 2.5, null]}`).n   // → [1,2.5,null]\njson.parse(\"{\")                          // → error json_invalid",
				call:    parseJSON,
			},
			{
				Name:    "stringify",
				Args:    []Arg{{Name: "value", Type: "any"}, {Name: "indent", Type: "int", Optional: true}},
				Returns: "string",
				Doc:     "Write JSON on one line, or indented by 0 to 8 blanks per level. Names are sorted.",
				Errors: []Fault{
					{"json_unsupported", "functions, errors, bytes, NaN, text that is not UTF-8, and values that contain themselves"},
					{"json_too_large", "over 64 MiB"},
				},
				Example: "json.stringify({b: [1, 2.5], a: \"x\"})   // → \"{\\\"a\\\":\\\"x\\\",\\\"b\\\":[1,2.5]}\"\njson.stringify(bytes(\"x\"))            // → error json_unsupported",
				call:    stringify,
			},
		},
	}
}

func parseJSON(a *arguments) (object.Object, error) {
	switch v := a.values[0].(type) {
	case *object.String:
		return data.ReadJSONUntil(v.Value(), a.ctx.Err)
	case *object.Bytes:
		return data.ReadJSONUntil(v.Value(), a.ctx.Err)
	}
	return nil, a.wrong(0, "a string or bytes")
}

func stringify(a *arguments) (object.Object, error) {
	w := data.JSONWriter{Limit: maxJSONText, Halted: a.ctx.Err}
	if n := a.int(1, 0); n < 0 || n > 8 {
		return nil, a.wrong(1, "a number from 0 to 8")
	} else if a.fault == nil {
		w.Indent = strings.Repeat(" ", int(n))
	}
	err := w.Write(a.values[0])
	var e *data.JSONError
	switch {
	case errors.As(err, &e):
		return nil, hostcall.Errorf("json_unsupported", "value%s: %s", e.Path, e.Reason)
	case a.ctx.Err() != nil:
		return nil, a.ctx.Err()
	case err != nil || len(w.Buf) > maxJSONText:
		return nil, hostcall.Errorf("json_too_large", "the JSON has more than %d bytes", maxJSONText)
	}
	return object.NewString(string(w.Buf)), nil
}
