package invoke

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/internal/redact"
)

// Function is one version of a function, ready to be called. It is immutable: a
// deploy makes another one. Its records and its metrics belong to the function
// and outlive versions.
type Function struct {
	Route  picloud.Route
	Limits picloud.Limits // in effect: the function's own, else its app's, the node's, or the built-in ones

	invoker *Invoker
	handle  *executor.Function
	series  *series
	ring    *ring
}

// Begin starts the clock of a call. The caller ends it with End.
func (f *Function) Begin() Call {
	f.series.inFlight.Inc()
	return Call{ID: f.invoker.ids.id(), function: f, start: time.Now()}
}

// Invoke runs a call. The caller releases the result.
func (f *Function) Invoke(ctx context.Context, c *executor.Call) (*executor.Result, error) {
	return f.handle.Invoke(ctx, c)
}

// Handle returns what runs the function, and admits its calls.
func (f *Function) Handle() *executor.Function { return f.handle }

// NewID returns an id for an answer that no code ran for.
func (f *Function) NewID() string { return f.invoker.ids.id() }

// Redact hides the app's secrets.
func (f *Function) Redact() *redact.Redactor { return f.invoker.opts.Secrets.Of(f.Route.App) }

// Resource names the function in errors: app/function.
func (f *Function) Resource() string { return f.Route.App + "/" + f.Route.Function }

// Call is one call under way, from its first byte to its answer.
type Call struct {
	ID       string
	function *Function
	start    time.Time
}

// End counts the call, records it, and tells the right log why it failed. The
// status is what its caller was sent, err what took the answer's place. The path is as
// it was sent, percent-encoded: in a record that becomes a line of text, nothing of it
// is a blank or begins another line.
func (c *Call) End(trigger picloud.Trigger, method, path string, status int, err error) {
	f := c.function
	f.series.inFlight.Dec()
	took := time.Since(c.start)
	f.series.observe(status, took)
	hidden := f.Redact()
	record := picloud.Invocation{
		ID: c.ID, App: f.Route.App, Function: f.Route.Function, Version: f.Route.Version,
		Trigger: trigger, Method: method, Path: hiddenPath(hidden, path),
		Status: status, Started: c.start, Duration: picloud.Duration(took), Node: f.invoker.opts.Node,
	}
	if err != nil {
		record.Code, record.Error = picloud.CodeOf(err), hidden.Text(err.Error())
		f.invoker.logFailure(&record, hintOf(err))
	}
	f.ring.add(record)
}

// hintOf is what an error says to do next, as the end of a sentence.
func hintOf(err error) string {
	if known := (*picloud.Error)(nil); errors.As(err, &known) && known.Hint != "" {
		return ": " + known.Hint
	}
	return ""
}

// hiddenPath hides secrets in an encoded path, also those that a client encoded in a way
// of its own.
func hiddenPath(hidden *redact.Redactor, escaped string) string {
	out := hidden.Text(escaped)
	if hidden == nil || strings.IndexByte(out, '%') < 0 {
		return out
	}
	if plain, err := url.PathUnescape(out); err == nil {
		if text := hidden.Text(plain); text != plain {
			return (&url.URL{Path: text}).EscapedPath()
		}
	}
	return out
}

// logFailure tells the function's log what ended the call from outside: limits
// and crashes. What the script itself did wrong its executor has logged, with
// line and trace. What the node did wrong is for the node's log.
func (i *Invoker) logFailure(inv *picloud.Invocation, hint string) {
	switch inv.Code {
	case picloud.CodeFunctionTimeout, picloud.CodeFunctionMemory, picloud.CodeFunctionCrash, picloud.CodeInterrupted, picloud.CodeResponseTooLarge:
		i.opts.Logs.Log(inv.App, picloud.LogRecord{
			Time: time.Now().UTC(), Level: "error", Message: inv.Error + hint, Fields: map[string]any{"code": inv.Code, "status": inv.Status},
			Function: inv.Function, Version: inv.Version, Invocation: inv.ID,
		})
	case picloud.CodeInternal, picloud.CodeExecutor, picloud.CodeNoMemory, picloud.CodeOverload:
		i.failures.note(inv)
	}
}
