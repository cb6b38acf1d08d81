// Package trigger is the one table of what can start an invocation. It links
// nothing, so that workers stay small.
package trigger

// The triggers, as invocations name them.
const (
	HTTP  = "http"
	Draft = "draft"
)

// HandleRequest is the function of a script that answers HTTP requests.
const HandleRequest = "handle"

// Handlers says which function of a script each trigger calls. The worker and the
// documents read it: a new trigger is one line here, and the argument of its handler
// is one entry in executor/risor's Handlers.
var Handlers = map[string]string{
	HTTP:  HandleRequest,
	Draft: HandleRequest,
}
