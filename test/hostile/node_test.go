//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/internal/hook"
)

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// node is a supervisor in this process, which is the agent.
type node struct {
	*executor.Executor
	metrics *executor.Metrics
	ends    ends
}

// options are those of a node, and what only tests change.
type options struct {
	executor.Options
	hook.Executor
}

func newNode(t *testing.T, change func(*options)) *node {
	n := &node{metrics: executor.NewMetrics(), ends: ends{how: map[string]string{}}}
	opts := options{Options: executor.Options{MaxWorkers: 1, Logger: slog.New(&n.ends), Metrics: n.metrics}}
	change(&opts)
	e, err := executor.NewHooked(opts.Options, opts.Executor)
	require.NoError(t, err)
	require.NoError(t, e.Start(t.Context()))
	t.Cleanup(e.Stop)
	n.Executor = e
	return n
}

// try makes an attempt and returns the answer, or how the worker ended. Alone it
// has an app and a worker of its own, which ends with it.
func (n *node) try(t *testing.T, a attempt, query string, alone bool) string {
	app := "hostile"
	if alone {
		app = a.name
	}
	answer, err := ask(n.function(app, 5*time.Second), "/try/"+a.name, query)
	if alone {
		n.Retain(map[string]struct{}{"hostile": {}})
	}
	if err == nil {
		return answer
	}
	if picloud.CodeOf(err) != picloud.CodeFunctionCrash && picloud.CodeOf(err) != picloud.CodeFunctionMemory {
		return string(picloud.CodeOf(err))
	}
	return n.ended(t, app, "")
}

// ended waits for the end of an app's worker, for a cause that begins with why,
// and returns how it ended.
func (n *node) ended(t *testing.T, app, why string) (how string) {
	require.Eventually(t, func() bool { how = n.ends.of(app); return how != "" }, patience, time.Millisecond, "the end of %s", app)
	require.True(t, strings.HasPrefix(how, why), how)
	return how
}

func (n *node) function(app string, timeout time.Duration) *executor.Function {
	limits := picloud.DefaultLimits()
	limits.Memory, limits.Timeout = 32<<20, picloud.Duration(timeout)
	source := []byte(`function handle(req) { return "fine " + req.query.n }`)
	return n.Function(executor.Program{App: app, Function: "f", Version: 1, Source: source, Digest: picloud.DigestOf(source), Limits: limits})
}

// stop ends the node and sees that nothing is left of it.
func (n *node) stop(t *testing.T) {
	n.Stop()
	for _, c := range n.metrics.Collectors()[2:] {
		var m dto.Metric
		require.NoError(t, c.(prometheus.Metric).Write(&m))
		require.Zero(t, m.GetGauge().GetValue())
	}
}

func ask(f *executor.Function, path, query string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := f.Invoke(ctx, &executor.Call{ID: "call-1", Method: "GET", Path: path, RawQuery: query})
	if err != nil {
		return "", err
	}
	defer r.Release()
	return string(r.Body), nil
}

// neighbour is another app, with the real worker, that is called all the time.
type neighbour struct {
	*node
	f     *executor.Function
	done  chan struct{}
	ended sync.WaitGroup

	mu     sync.Mutex
	calls  int
	failed error
}

func newNeighbour(t *testing.T, honest string) *neighbour {
	n := &neighbour{done: make(chan struct{})}
	n.node = newNode(t, func(o *options) { o.WorkerPath, o.UIDBase = honest, 80_000 })
	n.f = n.function("neighbour", 10*time.Second)
	n.mustAnswer(t)
	n.ended.Go(func() {
		pause := time.NewTicker(2 * time.Millisecond)
		defer pause.Stop()
		for {
			select {
			case <-n.done:
				return
			case <-pause.C:
				err := n.answers("again")
				n.mu.Lock()
				n.calls++
				if n.failed == nil {
					n.failed = err
				}
				n.mu.Unlock()
			}
		}
	})
	return n
}

func (n *neighbour) answers(text string) error {
	answer, err := ask(n.f, "/", "n="+text)
	if err == nil && answer != "fine "+text {
		err = fmt.Errorf("got %q", answer)
	}
	return err
}

// mustAnswer calls the neighbour, and sees that no call of it failed meanwhile.
func (n *neighbour) mustAnswer(t *testing.T) {
	require.NoError(t, n.answers("now"), "a neighbour's call")
	n.mu.Lock()
	defer n.mu.Unlock()
	require.NoError(t, n.failed, "a neighbour's call during an attempt")
}

func (n *neighbour) stop(t *testing.T) {
	close(n.done)
	n.ended.Wait()
	n.mustAnswer(t)
	require.Greater(t, n.calls, 10)
	n.node.stop(t)
	require.Empty(t, n.ends.how, "ends of the neighbour's workers")
}

// ends is the log of a node, of which it keeps how workers ended.
type ends struct {
	mu  sync.Mutex
	how map[string]string // by app
}

func (*ends) Enabled(context.Context, slog.Level) bool { return true }
func (e *ends) WithAttrs([]slog.Attr) slog.Handler     { return e }
func (e *ends) WithGroup(string) slog.Handler          { return e }

func (e *ends) Handle(_ context.Context, r slog.Record) error {
	fields := map[string]string{}
	r.Attrs(func(a slog.Attr) bool { fields[a.Key] = a.Value.String(); return true })
	if r.Level >= slog.LevelWarn && fields["cause"] != "" {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.how[fields["app"]] = fields["cause"] + ": " + fields["status"]
	}
	return nil
}

func (e *ends) of(app string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.how[app]
}

// openDescriptors counts the descriptors of this process.
func openDescriptors(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

// children lists the processes that this one started and that are left, but for
// some.
func children(t *testing.T, but ...int) (left []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		number, _, _ := strings.Cut(string(b), " ")
		pid, err := strconv.Atoi(number)
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(b), ") ")
		if fields := strings.Fields(rest); fields[1] == strconv.Itoa(os.Getpid()) && !slices.Contains(but, pid) {
			left = append(left, pid)
		}
	}
	return left
}
