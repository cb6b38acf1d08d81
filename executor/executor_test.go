package executor

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/hook"
)

// value reads a metric.
func value(m prometheus.Metric) float64 {
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		panic(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// testOptions are options and what only tests change.
type testOptions struct {
	Options
	hook.Executor
}

// launch runs an executor whose workers are actors, and stops it with the test.
func launch(t *testing.T, change func(*testOptions)) *Executor {
	opts := testOptions{
		Options: Options{WorkerPath: self(t), WorkerArgs: []string{actorArg}, MemoryCap: 1 << 30, MaxWorkers: 1, Logger: testLogger(t)},
	}
	opts.Layers = []string{}
	if change != nil {
		change(&opts)
	}
	e, err := NewHooked(opts.Options, opts.Executor)
	require.NoError(t, err)
	require.NoError(t, e.Start(context.Background()))
	t.Cleanup(func() {
		e.Stop()
		require.Empty(t, e.workers)
		require.Zero(t, e.capacity.used)
		require.Zero(t, value(e.metrics.workers))
		require.Zero(t, value(e.metrics.memory))
		require.Empty(t, children(t), "processes left")
	})
	return e
}

// children lists the processes that this one started and that live or wait to be reaped.
func children(t *testing.T) []string {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return nil
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	var out []string
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			out = append(out, string(b))
		}
	}
	return out
}

func limits(change func(*picloud.Limits)) picloud.Limits {
	l := picloud.DefaultLimits()
	if change != nil {
		change(&l)
	}
	return l
}

// function is a handle of app/name whose source is its name.
func function(e *Executor, app, name string, change func(*picloud.Limits)) *Function {
	return version(e, app, name, name, 1, change)
}

func version(e *Executor, app, name, source string, number int, change func(*picloud.Limits)) *Function {
	return e.Function(Program{
		App: app, Function: name, Version: number, Source: []byte(source),
		Digest: picloud.DigestOf([]byte(source)), Limits: limits(change),
	})
}

// invoke calls f with a path and returns the body.
func invoke(t testing.TB, f *Function, path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := f.Invoke(ctx, &Call{ID: "call-1", Method: "GET", Path: path})
	if err != nil {
		require.Nil(t, r)
		return "", err
	}
	defer r.Release()
	return string(r.Body), nil
}

func must(t testing.TB, f *Function, path string) string {
	body, err := invoke(t, f, path)
	require.NoError(t, err)
	return body
}

func eventually(t *testing.T, what string, cond func() bool) {
	require.Eventually(t, cond, patience, 2*time.Millisecond, what)
}

func (e *Executor) alive() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.workers)
}

// kills is how many workers ended for the cause.
func (e *Executor) kills(c cause) int {
	return int(value(e.metrics.ends.WithLabelValues(c.String())))
}

func TestCall(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "hello", nil)
	require.Zero(t, e.alive(), "a handle starts nothing")
	r, err := f.Invoke(context.Background(), &Call{
		ID: "abc", Path: "/echo", Body: []byte("body"), Header: http.Header{"X-Echo": {"é\tb"}}, Deadline: time.Now().Add(time.Hour),
	})
	require.NoError(t, err)
	require.Equal(t, 200, r.Status)
	require.Equal(t, "body", string(r.Body))
	require.Equal(t, []HeaderField{{"X-Id", "abc"}, {"X-Echo", "é\tb"}}, r.Header)
	r.Release()

	require.Len(t, must(t, f, "/size/3000000"), 3_000_000)
	_, err = invoke(t, f, "/fail")
	var pe *picloud.Error
	require.ErrorAs(t, err, &pe)
	require.Equal(t, picloud.CodeFunctionError, pe.Code)
	require.Equal(t, "call function shop/hello: boom\uFFFD", err.Error())
	require.Equal(t, &picloud.ScriptError{Line: 4, Column: 2, Message: "boom\uFFFD", Excerpt: "boom()"}, pe.Script)
	require.Equal(t, 1, e.alive())
}

// TestWorkerIsolation looks at the process from within: no environment but the
// runtime's, and as root a uid of its own per app.
func TestWorkerIsolation(t *testing.T) {
	t.Setenv("PICLOUD_SECRET", "x")
	e := launch(t, nil)
	a, b := function(e, "a", "f", nil), function(e, "b", "f", func(l *picloud.Limits) { l.Memory = 32 << 20 })
	wantA, wantB := fmt.Sprintln(os.Getuid(), os.Getgid(), 5, 64<<20), fmt.Sprintln(os.Getuid(), os.Getgid(), 5, 32<<20)
	if os.Geteuid() == 0 {
		wantA, wantB = fmt.Sprintln(70000, 70000, 5, 64<<20), fmt.Sprintln(70001, 70001, 5, 32<<20)
	}
	require.Equal(t, wantA, must(t, a, "/whoami"))
	require.Equal(t, wantB, must(t, b, "/whoami"))
	require.Equal(t, wantA, must(t, a, "/whoami"))
}

// live is the only worker of an app.
func (e *Executor) live(app string) *worker {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.pools[app]; p != nil && len(p.live()) > 0 {
		return p.live()[0]
	}
	return newWorker(e, app, 0)
}
