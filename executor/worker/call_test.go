package worker

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/wire"
)

func TestFailures(t *testing.T) {
	a := inProcess(t).greet(0)
	slot := uint64(0)
	for name, c := range map[string]struct {
		body    string
		reason  wire.Reason
		message string
		line    int
		log     string
	}{
		"error":          {"\nthrow \"boom\"", wire.ReasonError, "boom", 2, `error boom {"at":"f.risor:2:7"}`},
		"in a helper":    {"function g() { throw \"boom\" }\ng()", wire.ReasonError, "boom", 1, `error boom {"at":"f.risor:1:44","trace":["g (1:44)","handle (2:1)"]}`},
		"status":         {"let x = 1\nreturn {status: 199}", wire.ReasonResponse, "status must be a number", 2, `"at":"f.risor:2:17"`},
		"bad request":    {"return req.json()", wire.ReasonRequest, "request body: invalid JSON at line 1, column 1", 1, "none"},
		"recursion":      {"return handle(req)", wire.ReasonError, "stack overflow", 1, "error runtime error: stack overflow"},
		"panic":          {`return "ab".repeat(9000000000000000000)`, wire.ReasonError, "internal error: strings: Repeat", 1, "error internal error"},
		"function":       {"return handle", wire.ReasonResponse, "a function cannot be written as JSON", 1, "error handle returned something that is not data: a function cannot be written as JSON"},
		"too large":      {`return "x".repeat(2000000)`, wire.ReasonResponseTooLarge, "more than 1048576 bytes", 1, "error the response body has more than 1048576 bytes"},
		"not UTF-8":      {`return string(bytes([255]))`, wire.ReasonResponse, "not UTF-8", 1, "error handle returned a string that is not UTF-8"},
		"100 MB string":  {`return "x".repeat(100000000)`, wire.ReasonResponseTooLarge, "more than 1048576 bytes", 1, "error the response body has more"},
		"header":         {`return {status: 200, headers: {a: "b\r\nc: d"}}`, wire.ReasonResponse, "line breaks", 1, "error header"},
		"long message":   {`throw "y".repeat(5000)`, wire.ReasonError, strings.Repeat("y", 1000), 1, "error " + strings.Repeat("y", 1000)},
		"caught timeout": {`range(10000000000).each(x => try { x } catch (e) { 1 }); return 1`, wire.ReasonTimeout, "longer than its timeout", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a.t = t
			a.send(wire.TypeLoad, slot, loadFrame("function handle(req) {"+c.body+"}", wire.ModeServe))
			require.Equal(t, wire.TypeLoaded, a.next().header.Type)
			id := a.invoke(slot, func(v *wire.Invoke) {
				if c.log == "" {
					v.Timeout = 30 * time.Millisecond
				}
			})
			if c.log != "" && c.log != "none" {
				require.Contains(t, a.log(id), c.log)
			}
			failure := a.failure(id)
			require.Equal(t, c.reason, failure.Reason)
			require.Contains(t, failure.Message, c.message)
			require.Equal(t, c.line, failure.Line)
			require.LessOrEqual(t, len(failure.Message), 1<<10)
			a.send(wire.TypeUnload, slot, nil)
		})
	}
}

// TestAFailureIsInTheLogOfACallThatLoggedTooMuch: what ended the call is what its owner
// looks for.
func TestAFailureIsInTheLogOfACallThatLoggedTooMuch(t *testing.T) {
	a := inProcess(t).greet(0)
	id := a.invoke(a.load(`function handle(req) { range(30).each(i => log.info("x".repeat(500))); throw "boom" }`))
	require.Contains(t, a.log(id), "info xxx")
	require.Contains(t, a.log(id), "info xxx")
	require.Equal(t, "warn log limit of 1000 bytes reached, the rest of this call is dropped", a.log(id))
	require.Equal(t, "warn log limit: 28 records of this call were dropped", a.log(id))
	require.Contains(t, a.log(id), "error boom")
	require.Equal(t, wire.ReasonError, a.failure(id).Reason)
}

func TestTriggers(t *testing.T) {
	a := inProcess(t).greet(0)
	slot := a.load(hello)
	a.result(a.invoke(slot, func(v *wire.Invoke) { v.Trigger = "draft" }))
	require.Equal(t, wire.ReasonNoHandler, a.failure(a.invoke(slot, func(v *wire.Invoke) { v.Trigger = "schedule" })).Reason)
}

func TestCancel(t *testing.T) {
	a := inProcess(t).greet(0)
	spin := a.load(`function handle(req) { range(10000000000).each(x => try { x } catch (e) { 1 }) }`)
	quick := a.load(hello)
	first, second := a.invoke(spin), a.invoke(spin)
	require.NotEmpty(t, a.result(a.invoke(quick))) // others go on
	a.send(wire.TypeCancel, second, nil)
	require.Equal(t, wire.ReasonCancelled, a.failure(second).Reason)
	a.send(wire.TypeCancel, 999, nil) // nobody
	a.send(wire.TypeCancel, second, nil)
	require.NotEmpty(t, a.result(a.invoke(quick)))
	a.send(wire.TypeCancel, first, nil)
	require.Equal(t, wire.ReasonCancelled, a.failure(first).Reason)
}

func TestTwiceTheSameCall(t *testing.T) {
	a := inProcess(t).greet(0)
	slot := a.load(`function handle(req) { range(10000000000).each(x => x) }`)
	a.invoke(slot)
	a.calls--
	a.invoke(slot)
	require.ErrorIs(t, a.ended(), wire.ErrMalformed)
}

func TestLogs(t *testing.T) {
	a := inProcess(t).greet(0)
	slot := a.load(`function handle(req) {
    log.info("one", {n: 1})
    print("two", 2)
    range(100).each(i => log.debug("x".repeat(90)))
    return "done"
}`)
	id := a.invoke(slot)
	require.Equal(t, `info one {"n":1}`, a.log(id))
	require.Equal(t, `info two 2`, a.log(id))
	for range 10 {
		require.Equal(t, "debug "+strings.Repeat("x", 90), a.log(id))
	}
	require.Equal(t, "warn log limit of 1000 bytes reached, the rest of this call is dropped", a.log(id))
	require.Equal(t, "warn log limit: 90 records of this call were dropped", a.log(id))
	require.Equal(t, "done", a.result(id))

	id = a.invoke(slot) // a new call has a new budget
	require.Equal(t, `info one {"n":1}`, a.log(id))
}

func TestManyCallsAtOnce(t *testing.T) {
	a := inProcess(t).greet(0)
	slot := a.load(`function handle(req) { return {n: int(req.query.n) + 1, body: req.text(), big: "x".repeat(int(req.query.size))} }`)
	want := map[uint64]string{}
	for i := range 300 {
		size := i % 7 * 10_000
		id := a.invoke(slot, func(v *wire.Invoke) {
			v.Query = fmt.Sprintf("n=%d&size=%d", i, size)
			v.Body = []byte(strings.Repeat("b", i%5*8000))
		})
		want[id] = fmt.Sprintf(`{"big":"%s","body":"%s","n":%d}`, strings.Repeat("x", size), strings.Repeat("b", i%5*8000), i+1)
		if i%50 == 49 { // the socket's buffers are finite
			for range 50 {
				f := a.next()
				require.Equal(t, wire.TypeResult, f.header.Type)
				var r wire.Result
				require.NoError(t, r.Decode(f.payload))
				require.Equal(t, want[f.header.ID], string(r.Body))
				delete(want, f.header.ID)
			}
		}
	}
	require.Empty(t, want)
}

func TestLargeBodies(t *testing.T) {
	a := realProcess(t, 256<<20).greet(256 << 20)
	load := loadFrame(`function handle(req) { return req.body }`, wire.ModeServe)
	load.ResponseBody = 8 << 20
	a.send(wire.TypeLoad, 0, load)
	require.Equal(t, wire.TypeLoaded, a.next().header.Type)
	body := strings.Repeat("0123456789abcdef", 8<<20/16)
	for range 3 {
		id := a.invoke(0, func(v *wire.Invoke) { v.Body = []byte(body) })
		require.Equal(t, a.result(id), body)
	}
}

// Only the agent can end these scripts: it kills the process, which may or may not
// explain itself before.
func TestBombs(t *testing.T) {
	for name, body := range map[string]string{
		"range list": `return len(list(range(1000000000)))`,
		"repeat":     `return len(["x".repeat(20000000)].map(s => s.repeat(40)))`,
		"doubling":   `let s = "xxxxxxxxxxxxxxxx"; range(40).each(i => { s = s + s }); return len(s)`,
		"list":       `let l = [1]; range(40).each(i => { l = l + l }); return len(l)`,
		"recursion":  `let l = []; range(10000000).each(i => { l = [l] }); return string(l)`,
		"captures":   `let keep = []; range(100000000).each(i => keep.append(() => i)); return len(keep)`,
		"map":        `let m = {}; range(100000000).each(i => { m[string(i)] = i }); return len(m)`,
	} {
		t.Run(name, func(t *testing.T) {
			a := realProcess(t, 64<<20).greet(64 << 20)
			slot := a.load("function handle(req) {" + body + "}")
			a.invoke(slot, func(v *wire.Invoke) { v.Timeout = time.Minute })
			var exit *exec.ExitError
			require.ErrorAs(t, a.ended(), &exit)
			if !exit.Sys().(syscall.WaitStatus).Signaled() {
				require.Equal(t, 2, exit.ExitCode())
			}
			// The collector itself may be the one that gets no memory: it dies on its own stack.
			require.Regexp(t, `out of memory|cannot allocate memory|^SIGSEGV[\s\S]*goroutine 0 `, a.stderr.String()[:min(200, a.stderr.Len())])
		})
	}
}
