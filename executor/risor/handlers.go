package risor

import (
	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/trigger"
)

// Handler is a function that a script may define for one kind of call.
type Handler struct {
	Name string
	Doc  string

	argument func(*Call) object.Object
	respond  bool // what it returns is a response
}

// Handlers are the kinds of calls, in the order in which they are shown.
var Handlers = []Handler{
	{
		Name:     trigger.HandleRequest,
		Doc:      "function handle(req) answers HTTP requests.",
		argument: func(c *Call) object.Object { return &request{call: c} },
		respond:  true,
	},
}

func handlerNamed(name string) (Handler, bool) {
	for _, h := range Handlers {
		if h.Name == name {
			return h, true
		}
	}
	return Handler{}, false
}
