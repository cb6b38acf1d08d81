package manager

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/picloud/picloud"
)

// Validate compiles a script and keeps nothing. The function need not exist; for
// cluster admins the app need not either, since their deploy would make it.
func (m *Manager) Validate(ctx context.Context, actor picloud.Actor, app, function string, source []byte) (picloud.Compiled, error) {
	const op = "validate function"
	resource := app + "/" + function
	if err := checkSource(op, resource, source); err != nil {
		return picloud.Compiled{}, err
	}
	if err := m.checkDeployer(ctx, op, actor, app, true); err != nil {
		return picloud.Compiled{}, err
	}
	compiled, err := m.o.Compiler.Compile(ctx, source, resource)
	if err != nil {
		return picloud.Compiled{}, err
	}
	return compiled, checkHandlers(op, resource, compiled)
}

// DraftTimeout is the most that a draft may take, whatever its function's
// timeout: somebody waits for the answer, and compiling waits for its place.
const DraftTimeout = 30 * time.Second

// Drafted is what one run of a draft led to.
type Drafted struct {
	Response picloud.Response    // zero when Failure is set
	Failure  error               // what the script did wrong in the call; nil when it answered
	Logs     []picloud.LogRecord // also those of a call that failed
	Effects  picloud.Effects     // what it would have written and sent
	Duration time.Duration
}

// Draft runs source once against req and keeps nothing: what the script writes is thrown
// away, and its outgoing requests are made only with net. Without source it runs
// the live version. The function's limits apply, or the defaults when there is
// no such function yet; DraftTimeout does in any case.
func (m *Manager) Draft(ctx context.Context, actor picloud.Actor, app, function string, source []byte, req picloud.Request, net bool) (Drafted, error) {
	const op = "test function"
	resource := app + "/" + function
	if err := m.checkDeployer(ctx, op, actor, app, false); err != nil {
		return Drafted{}, err
	}
	f, err := m.o.Functions.Get(ctx, actor, app, function)
	switch {
	case errors.Is(err, picloud.ErrNotFound) && len(source) > 0:
		f = picloud.Function{App: app, Name: function}
	case err != nil:
		return Drafted{}, err
	}
	if len(source) == 0 {
		if source, err = m.liveSource(ctx, op, actor, f); err != nil {
			return Drafted{}, err
		}
	}
	if err := checkSource(op, resource, source); err != nil {
		return Drafted{}, err
	}
	start := time.Now()
	d := Drafted{}
	d.Response, d.Logs, d.Effects, err = m.o.Drafter.Draft(ctx, f, source, DraftTimeout, req, net)
	d.Duration = time.Since(start)
	if err != nil && !failedInCall(ctx, err) {
		return Drafted{}, err
	}
	d.Failure = err
	return d, nil
}

func (m *Manager) liveSource(ctx context.Context, op string, actor picloud.Actor, f picloud.Function) ([]byte, error) {
	if f.Version == 0 {
		return nil, &picloud.Error{
			Code: picloud.CodeConflict, Op: op, Resource: f.App + "/" + f.Name,
			Detail: "no version is live, and the request has no source", Hint: "send the draft as source",
		}
	}
	return m.o.Versions.Source(ctx, actor, f.App, f.Name, f.Version)
}

// failedInCall tells the script's own failure, which is the answer of a draft
// run, from one that kept it from running.
func failedInCall(ctx context.Context, err error) bool {
	return ctx.Err() == nil &&
		(slices.Contains([]picloud.Code{picloud.CodeFunctionRequest, picloud.CodeNoRoute}, picloud.CodeOf(err)) || errors.Is(err, picloud.ErrFunction) || errors.Is(err, picloud.ErrTimeout) || errors.Is(err, picloud.ErrTooLarge))
}
