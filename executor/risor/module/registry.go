// Package module has the modules that scripts find, as data: the name, the
// signature, the documentation, the errors by code, an example and the function of
// each. The environment of scripts and the reference in docs/functions.md are made
// from the same table.
//
// Modules are shared by all calls, and nothing in them changes. A function finds
// its call through the context, as an [Access]: the request, the variables and the
// Host. What does not need the agent is computed here.
package module

import (
	"context"
	"strings"
	"sync"

	"github.com/deepnoodle-ai/risor/v2/pkg/builtins"
	modmath "github.com/deepnoodle-ai/risor/v2/pkg/modules/math"
	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/executor/risor/vm"
	"github.com/picloud/picloud/executor/wire"
)

// Module is a group of host functions that scripts call as module.function().
// The registry binds them and documents them.
type Module struct {
	Name      string
	Doc       string
	Functions []Function
	Types     []*Type // of what the functions return
}

// Function is one function of a module, or one member of a Type.
type Function struct {
	Name    string
	Args    []Arg
	Returns string  // "null" if nothing
	Value   bool    // of a Type's member: it is read, not called
	Doc     string  // what it does, and its units
	Errors  []Fault // beyond CommonFaults
	Example string  // lines of a script; a comment "// → x" behind a line tells what it gives, and a test proves it

	call func(*arguments) (object.Object, error)
}

// Arg is one parameter of a function.
type Arg struct {
	Name     string
	Type     string // "string", "any", …
	Optional bool
}

// Fault is an error that a function may raise.
type Fault struct {
	Code string // stable
	When string
}

// CommonFaults are raised by every function, or by every function that asks the
// node, and are not listed with them.
var CommonFaults = []Fault{
	{hostcall.CodeInvalidArguments, "any function: the number or the type of the arguments is wrong; the message has the signature"},
	{hostcall.CodeCallLimit, "`kv`, `secrets` and `http`: the call has made as many as the limit `host_calls` allows"},
	{hostcall.CodeBusy, "`kv`, `secrets` and `http`: too many of them are under way on the node, or their answers fill its memory; try again later"},
	{hostcall.CodeNotInACall, "`kv`, `secrets`, `http` and `time.sleep`: at the top level of a script that is being deployed; use them in a handler"},
	{hostcall.CodeCancelled, "`kv`, `secrets` and `http`: the call has ended: its caller no longer waits for what the script does"},
	{hostcall.CodeUnknown, "`kv`, `secrets` and `http`: the node does not know the function"},
	{hostcall.CodeInternal, "`kv`, `secrets` and `http`: the node failed; its log has the cause"},
}

// Signature returns "json.parse(text: string) -> any", or "t.year -> int".
func (f Function) Signature(module string) string {
	var b strings.Builder
	b.WriteString(module + "." + f.Name)
	if f.Value {
		return b.String() + " -> " + f.Returns
	}
	b.WriteString("(")
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

// modules make the host modules, in the order in which they are documented.
var modules = []struct {
	name string
	make func() Module
}{
	{"log", logModule},
	{"env", envModule},
	{"secrets", secretsModule},
	{"kv", kvModule},
	{"http", httpModule},
	{"time", timeModule},
	{"crypto", cryptoModule},
	{"json", jsonModule},
	{"base64", base64Module},
	{"hex", hexModule},
	{"url", urlModule},
	{"html", htmlModule},
}

// Modules returns the host modules, in the order in which they are documented.
func Modules() []Module {
	all := make([]Module, len(modules))
	for i, m := range modules {
		all[i] = m.make()
	}
	return all
}

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

// Environment is what scripts find: makers of values. Each value is made once,
// when a script first uses its name; nothing in it changes. Nobody may change the map.
func Environment() map[string]func() object.Object { return environment() }

var environment = sync.OnceValue(func() map[string]func() object.Object {
	env := map[string]func() object.Object{}
	for name, v := range builtins.Builtins() {
		env[name] = sync.OnceValue(func() object.Object { return ticking(name, v.(*object.Builtin).Value()) })
	}
	for name, fn := range map[string]object.BuiltinFunction{"print": printValues, "encode": encode, "decode": decode, "int": toInt, "byte": toByte, "bytes": toBytes} {
		env[name] = sync.OnceValue(func() object.Object { return object.NewBuiltin(name, fn) })
	}
	env["math"] = sync.OnceValue(func() object.Object { return modmath.Module() })
	env["regexp"] = sync.OnceValue(func() object.Object { return regexpModule() })
	for _, m := range modules {
		env[m.name] = sync.OnceValue(func() object.Object { return m.make().object() })
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
	for i := range m.Functions {
		f := &m.Functions[i]
		functions[f.Name] = f.object(m.Name, nil)
	}
	return object.NewBuiltinsModule(m.Name, functions)
}

// printValues is the builtin print.
func printValues(ctx context.Context, args ...object.Object) (object.Object, error) {
	texts := make([]string, len(args))
	for i, arg := range args {
		texts[i] = logText(arg)
	}
	AccessOf(ctx).Host.Log(wire.LevelInfo, data.Shorten(strings.Join(texts, " "), wire.MaxLogMessage), nil)
	return object.Nil, nil
}

// encode and decode are Risor's, but with our JSON, which keeps integers exact.
func encode(ctx context.Context, args ...object.Object) (object.Object, error) {
	if len(args) == 2 && isJSON(args[1]) {
		return stringify(&arguments{ctx: ctx, values: args[:1]})
	}
	return builtins.Encode(ctx, args...)
}

func decode(ctx context.Context, args ...object.Object) (object.Object, error) {
	if len(args) == 2 && isJSON(args[1]) {
		return parseJSON(&arguments{ctx: ctx, values: args[:1]})
	}
	return builtins.Decode(ctx, args...)
}

func isJSON(v object.Object) bool {
	s, ok := v.(*object.String)
	return ok && s.Value() == "json"
}
