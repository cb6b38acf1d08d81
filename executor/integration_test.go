package executor

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testworker"
)

// launchReal runs an executor with the real worker and everything it insists on.
func launchReal(t *testing.T) *Executor {
	path := testworker.Path(t)
	return launch(t, func(o *testOptions) { o.WorkerPath, o.WorkerArgs, o.Layers = path, nil, nil })
}

func script(e *Executor, source string, change func(*picloud.Limits)) *Function {
	return version(e, "shop", "f", source, 1, change)
}

func TestRealCall(t *testing.T) {
	logs := &sink{}
	path := testworker.Path(t)
	e := launch(t, func(o *testOptions) { o.WorkerPath, o.WorkerArgs, o.Layers, o.Logs = path, nil, nil, logs })
	f := script(e, `function handle(req) {
		log.info("called", {by: req.headers["x-by"]})
		return {status: 201, headers: {"x-hi": "1"}, body: {hello: req.query.name, path: req.path, got: req.text()}}
	}`, nil)
	r, err := f.Invoke(context.Background(), &Call{
		ID: "c1", Method: "POST", Path: "/p", RawQuery: "name=Ada", Header: http.Header{"X-By": {"me"}}, Body: []byte("text"),
	})
	require.NoError(t, err)
	require.Equal(t, 201, r.Status)
	require.JSONEq(t, `{"hello":"Ada","path":"/p","got":"text"}`, string(r.Body))
	require.Contains(t, r.Header, HeaderField{"x-hi", "1"})
	r.Release()
	require.Len(t, logs.records, 1)
	require.Equal(t, map[string]any{"by": "me"}, logs.records[0].Fields)
}

// TestRealHarm runs scripts that take more than they may have.
func TestRealHarm(t *testing.T) {
	e := launchReal(t)
	good := version(e, "other", "good", `function handle(req) { return "fine" }`, 1, nil)
	must(t, good, "/")
	pid := e.live("other").process.PID()
	for name, c := range map[string]struct {
		source string
		want   picloud.Code
	}{
		"spin":      {`function handle(req) { range(1000000000).each(x => x) }`, picloud.CodeFunctionTimeout},
		"memory":    {`function handle(req) { return list(range(1000000000)) }`, picloud.CodeFunctionMemory},
		"pieces":    {`function handle(req) { let m = {}; range(1000000000).each(i => { m[string(i)] = i }) }`, picloud.CodeFunctionMemory},
		"recursion": {`function f(x) { return f(x + 1) } function handle(req) { return f(0) }`, picloud.CodeFunctionError},
		"large":     {`function handle(req) { return "x".repeat(9000000) }`, picloud.CodeResponseTooLarge},
		"function":  {`function handle(req) { return handle }`, picloud.CodeFunctionResponse},
		"nothing":   {`let x = 1`, picloud.CodeFunctionError},
	} {
		f := version(e, "shop", name, c.source, 1, func(l *picloud.Limits) {
			l.Timeout = picloud.Duration(3 * time.Second)
			if c.want == picloud.CodeFunctionMemory {
				l.Timeout = picloud.Duration(time.Minute) // a busy machine takes its time to fill the memory
			}
		})
		_, err := invoke(t, f, "/")
		require.Equal(t, c.want, picloud.CodeOf(err), "%s: %v", name, err)
		require.Equal(t, "fine", must(t, good, "/"))
	}
	require.Equal(t, pid, e.live("other").process.PID())
}

func TestRealCompile(t *testing.T) {
	e := launchReal(t)
	compile := func(source string) error {
		out, err := e.Compile(context.Background(), []byte(source), "f")
		if err == nil {
			require.Equal(t, []string{"handle"}, out.Handlers)
		}
		return err
	}
	require.NoError(t, compile(`function handle(req) { return "x" }`))
	var pe *picloud.Error
	require.ErrorAs(t, compile("function handle(req) {\n  let = 1\n}"), &pe)
	require.Equal(t, picloud.CodeScript, pe.Code)
	require.Equal(t, 2, pe.Script.Line)
	require.Equal(t, "  let = 1", pe.Script.Excerpt)
	for name, source := range map[string]string{
		"nested": strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000),
		"large":  "let x = \"" + strings.Repeat("x", picloud.MaxSourceSize) + "\"",
		"bindings": func() (s string) {
			var b strings.Builder
			for i := range 600 {
				fmt.Fprintf(&b, "let x%d = 1\n", i)
			}
			return b.String()
		}(),
		"not utf8": "let x = \"\xff\"",
	} {
		err := compile(source)
		require.ErrorIs(t, err, picloud.ErrScript, "%s: %v", name, err)
	}
	err := compile(`range(1000000000).each(x => x); function handle(req) { return 1 }`)
	require.Equal(t, picloud.CodeCompileBudget, picloud.CodeOf(err), err)
	r, logs, err := e.Draft(context.Background(), Program{
		App: "shop", Function: "cart", Source: []byte(`function handle(req) { log.warn("w"); return req.app + req.path + req.function }`),
	}, &Call{Path: "/d"})
	require.NoError(t, err)
	require.Equal(t, "shop/dcart", string(r.Body))
	require.Len(t, logs, 1)
	r.Release()
}

// TestRealLoad kills the real worker under load: answers stay with their calls.
func TestRealLoad(t *testing.T) {
	e := launchReal(t)
	f := script(e, `function handle(req) { return req.query.n }`, nil)
	must(t, f, "/")
	deadline := time.Now().Add(2 * time.Second)
	var wg sync.WaitGroup
	for c := range 16 {
		wg.Go(func() {
			for n := c; time.Now().Before(deadline); n += 16 {
				r, err := f.Invoke(context.Background(), &Call{Method: "GET", Path: "/", RawQuery: "n=" + strconv.Itoa(n)})
				if err == nil && string(r.Body) != strconv.Itoa(n) {
					t.Errorf("call %d got %q", n, r.Body)
				}
				if code := picloud.CodeOf(err); err != nil && code != picloud.CodeFunctionCrash && code != picloud.CodeExecutor {
					t.Error(err)
				}
				r.Release()
			}
		})
	}
	killed := 0
	for range 3 {
		var victim int
		eventually(t, "another worker works", func() bool {
			w := e.live("shop")
			if w.process == nil || w.busy.Load() <= 4 {
				return false
			}
			victim = w.process.PID()
			return victim != killed // the one before may not be noticed yet
		})
		require.NoError(t, syscall.Kill(victim, syscall.SIGKILL))
		killed = victim
	}
	wg.Wait()
}

// agentArg makes the test binary an agent whose worker is in the middle of a
// call that never ends.
const agentArg = "act-as-agent"

func actAsAgent(worker string) {
	e, err := New(Options{WorkerPath: worker})
	if err == nil {
		err = e.Start(context.Background())
	}
	if err != nil {
		panic(err)
	}
	source := []byte("function handle(req) { if (req.path == '/spin') { range(1000000000000).each(x => x) }\n return 1 }")
	f := e.Function(Program{App: "shop", Function: "f", Source: source, Digest: picloud.DigestOf(source), Limits: picloud.DefaultLimits()})
	if _, err := f.Invoke(context.Background(), &Call{Path: "/"}); err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stdout, e.live("shop").process.PID())
	_, _ = f.Invoke(context.Background(), &Call{Path: "/spin", Deadline: time.Now().Add(time.Hour)})
}

// TestAgentKilled ends an agent by kill -9 while its worker spins: the worker
// ends too.
func TestAgentKilled(t *testing.T) {
	agent := exec.Command(self(t), agentArg, testworker.Path(t))
	agent.Stderr = os.Stderr
	out, err := agent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, agent.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	busy := func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		fields := strings.Fields(string(stat))
		return err != nil || len(fields) > 13 && fields[13] != "0" && fields[13] != "1"
	}
	eventually(t, "the worker spins", busy)
	require.NoError(t, agent.Process.Kill())
	_ = agent.Wait()
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) != nil }, 3*time.Second, 5*time.Millisecond, "the worker lives on")
}
