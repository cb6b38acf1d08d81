package risor

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/deepnoodle-ai/risor/v2/pkg/builtins"
	modmath "github.com/deepnoodle-ai/risor/v2/pkg/modules/math"
	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/risor/vm"
	"github.com/picloud/picloud/executor/wire"
)

// Module is a group of host functions that scripts call as module.function().
// The registry binds them and documents them.
type Module struct {
	Name      string
	Doc       string
	Functions []Function
}

// Function is one function of a module.
type Function struct {
	Name    string
	Args    []Arg
	Returns string // "null" if nothing
	Doc     string // what it does, its units, its errors by code
	Example string // a script that a test runs

	call func(*Call, []object.Object) (object.Object, error)
}

// Arg is one parameter of a function.
type Arg struct {
	Name     string
	Type     string // "string", "any", …
	Optional bool
}

// Signature returns "json.parse(text: string) -> any".
func (f Function) Signature(module string) string {
	var b strings.Builder
	b.WriteString(module + "." + f.Name + "(")
	for i, a := range f.Args {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.Name)
		if a.Optional {
			b.WriteString("?")
		}
		b.WriteString(": " + a.Type)
	}
	b.WriteString(") -> " + f.Returns)
	return b.String()
}

// Modules returns the host modules, in the order in which they are documented.
func Modules() []Module { return []Module{logModule(), jsonModule()} }

// Builtins returns the documentation of the builtin functions that scripts have.
func Builtins() []object.FuncSpec {
	docs := builtins.Docs()
	for i := range docs {
		d := &docs[i] // where Risor's own is wrong
		switch d.Name {
		case "encode":
			d.Args, d.Example = []string{"value", "format"}, `encode({a: 1}, "json")`
		case "decode":
			d.Args, d.Example = []string{"data", "format"}, `decode("aGk=", "base64")`
		case "sorted":
			d.Args, d.Example = []string{"items", "less?"}, "sorted([3, 1, 2], (a, b) => a > b)"
		}
	}
	return append(docs, object.FuncSpec{
		Name: "print", Doc: "Log the values at level info, with blanks between them",
		Args: []string{"values..."}, Returns: "null", Example: `print("took", 5, "ms")`,
	})
}

// environment is what scripts find. It is built once; nothing in it changes.
var environment = sync.OnceValue(func() map[string]object.Object {
	env := map[string]object.Object{}
	for name, v := range builtins.Builtins() {
		env[name] = ticking(name, v.(*object.Builtin).Value())
	}
	env["print"] = object.NewBuiltin("print", printValues)
	env["encode"] = object.NewBuiltin("encode", encode)
	env["decode"] = object.NewBuiltin("decode", decode)
	env["math"] = modmath.Module()
	env["regexp"] = regexpModule()
	for _, m := range Modules() {
		env[m.Name] = m.object()
	}
	return env
})

// ticking makes a builtin look at the deadline. Natives that call it again and
// again, as in range(n).each(string), end there.
func ticking(name string, fn object.BuiltinFunction) object.Object {
	return object.NewBuiltin(name, func(ctx context.Context, args ...object.Object) (object.Object, error) {
		if err := vm.Tick(ctx); err != nil {
			return nil, err
		}
		return fn(ctx, args...)
	})
}

func (m Module) object() object.Object {
	functions := make(map[string]object.Object, len(m.Functions))
	for _, f := range m.Functions {
		functions[f.Name] = f.object(m.Name)
	}
	return object.NewBuiltinsModule(m.Name, functions)
}

func (f Function) object(module string) object.Object {
	name, least, most := module+"."+f.Name, 0, len(f.Args)
	for _, a := range f.Args {
		if !a.Optional {
			least++
		}
	}
	return object.NewBuiltin(name, func(ctx context.Context, args ...object.Object) (object.Object, error) {
		if len(args) < least || len(args) > most {
			return nil, fmt.Errorf("%s: got %d arguments: %s", name, len(args), f.Signature(module))
		}
		return f.call(callOf(ctx), args)
	})
}

// printValues is the builtin print.
func printValues(ctx context.Context, args ...object.Object) (object.Object, error) {
	texts := make([]string, len(args))
	for i, arg := range args {
		texts[i] = logText(arg)
	}
	callOf(ctx).Host.Log(wire.LevelInfo, shorten(strings.Join(texts, " "), wire.MaxLogMessage), nil)
	return object.Nil, nil
}

// encode and decode are Risor's, but with our JSON, which keeps integers exact.
func encode(ctx context.Context, args ...object.Object) (object.Object, error) {
	if len(args) == 2 && isJSON(args[1]) {
		return stringify(callOf(ctx), args[:1])
	}
	return builtins.Encode(ctx, args...)
}

func decode(ctx context.Context, args ...object.Object) (object.Object, error) {
	if len(args) == 2 && isJSON(args[1]) {
		return parseJSON(callOf(ctx), args[:1])
	}
	return builtins.Decode(ctx, args...)
}

func isJSON(v object.Object) bool {
	s, ok := v.(*object.String)
	return ok && s.Value() == "json"
}
