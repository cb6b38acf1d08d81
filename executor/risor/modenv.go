package risor

import (
	"bytes"
	"sync"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/wire"
)

// Env are the variables of a program. They are decoded when a script first asks
// for one, once for all calls. The nil Env is empty.
type Env struct {
	encoded []byte
	once    sync.Once
	items   map[string]string
}

// NewEnv keeps a copy of variables as wire.Load has them.
func NewEnv(encoded []byte) *Env { return &Env{encoded: bytes.Clone(encoded)} }

// get returns the variables, which nobody may change.
func (e *Env) get() map[string]string {
	if e == nil {
		return nil
	}
	e.once.Do(func() {
		// What the agent sent in a form that is none is as good as nothing.
		v, _ := wire.Unmarshal(e.encoded)
		items, _ := v.(map[string]any)
		e.items = make(map[string]string, len(items))
		for name, value := range items {
			if s, ok := value.(string); ok {
				e.items[name] = s
			}
		}
		e.encoded = nil
	})
	return e.items
}

func envModule() Module {
	return Module{
		Name: "env",
		Doc:  "Variables of the app and the function, set with `picloud env set`. A function's own come before its app's. They are text, and there at the top level too.",
		Functions: []Function{
			{
				Name: "get", Args: []Arg{{Name: "name", Type: "string"}, {Name: "default", Type: "any", Optional: true}}, Returns: "string|any",
				Doc:     "The value of a variable, or the default, or null.",
				Example: example(`env.get("GREETING")           // → "hi"`, `env.get("NOT_SET", "none")    // → "none"`, `env.get("NOT_SET")            // → null`),
				call: func(a *arguments) (object.Object, error) {
					if value, ok := callOf(a.ctx).Env.get()[a.text(0)]; ok {
						return object.NewString(value), nil
					}
					if len(a.values) == 2 {
						return a.values[1], nil
					}
					return object.Nil, nil
				},
			},
			{
				Name: "all", Returns: "map",
				Doc:     "Every variable, in a map of your own.",
				Example: `env.all()   // → {"GREETING":"hi","LIMIT":"20"}`,
				call: func(a *arguments) (object.Object, error) {
					items := map[string]object.Object{}
					for name, value := range callOf(a.ctx).Env.get() {
						items[name] = object.NewString(value)
					}
					return object.NewMap(items), nil
				},
			},
		},
	}
}
