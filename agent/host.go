package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/internal/egress"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/redact"
)

// The codes of host calls' errors, which scripts can catch; those of http.fetch
// are egress's.
const (
	hostUnknown           = "unknown_host_function"
	hostInvalidArguments  = "invalid_arguments"
	hostCancelled         = "cancelled"
	hostSecretNotFound    = "secret_not_found"
	hostSecretUnavailable = "secret_unavailable"
	hostKVInvalidKey      = "kv_invalid_key"
	hostKVInvalidValue    = "kv_invalid_value"
	hostKVTooLarge        = "kv_value_too_large"
	hostKVQuota           = "kv_quota"
	hostKVNotANumber      = "kv_not_a_number"
	hostKVOverflow        = "kv_overflow"
	hostKVUnavailable     = "kv_unavailable"
)

// grants are what a function may have of the host. They belong to one endpoint
// and never change; they end with the app.
type grants struct {
	tenancy  *tenancy
	app      picloud.AppConfig
	settings picloud.Settings // of the function
	resource string           // app/function
	function string
	egress   *egress.Policy
}

func newGrants(function string, settings picloud.Settings, app picloud.AppConfig) *grants {
	return &grants{app: app, settings: settings, resource: app.App + "/" + function, function: function, egress: egress.ParsePolicy(settings.Egress)}
}

// inApp completes a command of the CLI that is about the function's app.
func (g *grants) inApp(command string) string {
	if g.app.App == picloud.DefaultApp {
		return command
	}
	return "--app " + g.app.App + " " + command
}

// secret returns a sealed value, if the function may read it.
func (g *grants) secret(name string) ([]byte, bool) {
	if allowed := g.settings.Secrets; allowed != nil && !slices.Contains(allowed, name) {
		return nil, false
	}
	sealed, ok := g.app.Secrets[name]
	return sealed, ok
}

// host is what functions can ask of their node. It implements executor.Host.
// Nothing of an error reaches a script that is not written for it.
type host struct {
	functions map[string]*hostFunction
	unknown   *hostFunction
	vault     *vault
	secrets   *redact.Secrets
	egress    *egress.Client
	calls     *prometheus.CounterVec
	outbound  *prometheus.CounterVec
	// database is the store of keys; nil until the node reached the database.
	database atomic.Pointer[store.DB]
}

// hostFunction is one function of the host.
type hostFunction struct {
	run      func(ctx context.Context, g *grants, call *executor.HostCall) (any, error)
	outcomes [len(hostOutcomes)]prometheus.Counter
}

// hostOutcomes are the values of a metric's label.
var hostOutcomes = [...]string{"ok", "refused", "unavailable", "error"}

func newHost(v *vault, secrets *redact.Secrets, client *egress.Client) *host {
	h := &host{vault: v, secrets: secrets, egress: client, functions: map[string]*hostFunction{}}
	h.calls = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "picloud_host_calls_total",
		Help: "What functions asked of the node, by host function and outcome: ok, refused, unavailable or error.",
	}, []string{"call", "outcome"})
	h.outbound = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "picloud_outbound_requests_total",
		Help: "Requests of functions to other servers by outcome: ok, or the code of the error.",
	}, []string{"outcome"})
	add := func(name string, run func(context.Context, *grants, *executor.HostCall) (any, error)) *hostFunction {
		f := &hostFunction{run: run}
		for i, outcome := range hostOutcomes {
			f.outcomes[i] = h.calls.WithLabelValues(name, outcome)
		}
		h.functions[name] = f
		return f
	}
	add("secrets.get", h.secret)
	add("http.fetch", h.fetch)
	add("kv.get", h.kvGet)
	add("kv.set", h.kvSet)
	add("kv.cas", h.kvCAS)
	add("kv.incr", h.kvIncrement)
	add("kv.delete", h.kvDelete)
	add("kv.list", h.kvList)
	h.unknown = add("unknown", func(_ context.Context, _ *grants, call *executor.HostCall) (any, error) {
		return nil, refuse(hostUnknown, "there is no host function %s", picloud.Shorten(call.Name, 80))
	})
	delete(h.functions, "unknown")
	return h
}

// Call implements executor.Host.
func (h *host) Call(ctx context.Context, call executor.HostCall) (any, error) {
	g, ok := call.Grants.(*grants)
	f := h.functions[call.Name]
	if f == nil || !ok {
		f = h.unknown
	}
	value, err := f.within(ctx, g, &call)
	outcome := 0
	var known *executor.HostError
	switch {
	case err == nil:
	case !errors.As(err, &known):
		outcome = 3
	case known.Code == hostKVUnavailable || known.Code == hostSecretUnavailable:
		outcome = 2
	default:
		outcome = 1
	}
	f.outcomes[outcome].Inc()
	return value, err
}

// within runs the function of the host, unless the app is gone: another may have
// its name by now. What was found out while the app went is not told. A panic is
// an error: what scripts send must not end the node.
func (f *hostFunction) within(ctx context.Context, g *grants, call *executor.HostCall) (value any, err error) {
	defer func() {
		if r := recover(); r != nil {
			value, err = nil, fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	if g == nil {
		return f.run(ctx, g, call)
	}
	if !g.tenancy.ended() {
		value, err = f.run(ctx, g, call)
	}
	if g.tenancy.ended() {
		return nil, refuse(hostCancelled, "the app was deleted")
	}
	return value, err
}

func refuse(code, format string, args ...any) error {
	return &executor.HostError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// secret opens a secret for the function, and hides it from then on.
func (h *host) secret(_ context.Context, g *grants, call *executor.HostCall) (any, error) {
	a := argumentsOf(call, 1)
	name := a.text(0, "name")
	if a.err != nil {
		return nil, a.err
	}
	sealed, ok := g.secret(name)
	if !ok {
		return nil, refuse(hostSecretNotFound, "%s has no secret %q, or may not read it; set it with: picloud secret set %s", g.resource, picloud.Shorten(name, 80), g.inApp("NAME"))
	}
	key, err := h.vault.open()
	if err != nil {
		return nil, refuse(hostSecretUnavailable, "this node does not have the cluster's key; `picloud doctor` on it says what to do")
	}
	data, err := key.Unwrap(g.app.App, g.app.Key)
	if err != nil {
		return nil, refuse(hostSecretUnavailable, "this node's key does not open the secrets of %s; `picloud doctor` on it says what to do", g.app.App)
	}
	value, err := data.Open(name, sealed)
	if err != nil {
		return nil, refuse(hostSecretUnavailable, "the secret %s is damaged; set it again", name)
	}
	text := string(value)
	h.secrets.Learn(g.app.App, name, text)
	if utf8.ValidString(text) {
		return text, nil
	}
	return value, nil
}

// arguments reads those of a host call; err is the first that is wrong.
type arguments struct {
	call *executor.HostCall
	err  error
}

// argumentsOf reads a call with n arguments.
func argumentsOf(call *executor.HostCall, n int) *arguments {
	a := &arguments{call: call}
	if len(call.Args) != n {
		a.err = refuse(hostInvalidArguments, "%s has %d arguments, not %d", call.Name, n, len(call.Args))
	}
	return a
}

func (a *arguments) wrong(name, want string) {
	if a.err == nil {
		a.err = refuse(hostInvalidArguments, "%s: %s must be %s", a.call.Name, name, want)
	}
}

func (a *arguments) text(i int, name string) string {
	if a.err != nil {
		return ""
	}
	s, ok := a.call.Args[i].(string)
	if !ok {
		a.wrong(name, "a string")
	}
	return s
}

func (a *arguments) integer(i int, name string, low, high int64) int64 {
	if a.err != nil {
		return 0
	}
	n, ok := a.call.Args[i].(int64)
	if !ok || n < low || n > high {
		a.wrong(name, fmt.Sprintf("a whole number between %d and %d", low, high))
	}
	return n
}
