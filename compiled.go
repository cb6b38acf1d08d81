package picloud

// Compiled is what compiling a script found.
type Compiled struct {
	// Handlers are the handler functions that the script defines: handle, on_schedule, on_event.
	Handlers []string `json:"handlers"`
}
