package module

import (
	"github.com/deepnoodle-ai/risor/v2/pkg/object"
)

func envModule() Module {
	return Module{
		Name: "env",
		Doc:  "Variables of the app and the function, set with `picloud env set`. A variable of the function hides the app's of the same name. Values are text. They can be read at the top level too.",
		Functions: []Function{
			{
				Name: "get", Args: []Arg{{Name: "name", Type: "string"}, {Name: "default", Type: "any", Optional: true}}, Returns: "string|any",
				Doc:     "The value of a variable, or the default, or null.",
				Example: example(`env.get("GREETING")           // → "hi"`, `env.get("NOT_SET", "none")    // → "none"`, `env.get("NOT_SET")            // → null`),
				call: func(a *arguments) (object.Object, error) {
					if value, ok := AccessOf(a.ctx).Env.get()[a.text(0)]; ok {
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
				Doc:     "All variables, in a map that the script may change.",
				Example: `env.all()   // → {"GREETING":"hi","LIMIT":"20"}`,
				call: func(a *arguments) (object.Object, error) {
					items := map[string]object.Object{}
					for name, value := range AccessOf(a.ctx).Env.get() {
						items[name] = object.NewString(value)
					}
					return object.NewMap(items), nil
				},
			},
		},
	}
}
