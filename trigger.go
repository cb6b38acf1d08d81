package picloud

// Trigger says what started an invocation.
type Trigger string

// The triggers.
const (
	TriggerHTTP  Trigger = "http"
	TriggerDraft Trigger = "draft"
)

// HandlerHTTP is the function of a script that answers HTTP requests.
const HandlerHTTP = "handle"

// Triggers lists every trigger with the function of a script that it calls. The
// worker, the manager and the documents read this table: a new trigger is one line
// here, and its handler's argument is one entry in executor/risor's Handlers.
var Triggers = []struct {
	Trigger Trigger
	Handler string
}{
	{TriggerHTTP, HandlerHTTP},
	{TriggerDraft, HandlerHTTP},
}
