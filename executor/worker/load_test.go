package worker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/wire"
)

func TestLoads(t *testing.T) {
	a := inProcess(t).greet(0)
	const top = "let x = "
	for name, c := range map[string]struct {
		source  string
		mode    wire.Mode
		reason  wire.Reason
		message string
		line    int
	}{
		"good":                    {hello, wire.ModeServe, wire.ReasonNone, "", 0},
		"broken":                  {hello + "\nlet let", wire.ModeServe, wire.ReasonScript, "unexpected", 2},
		"undefined":               {hello + "\n\nlet a = foo", wire.ModeCompile, wire.ReasonScript, `undefined variable "foo"`, 3},
		"no handler":              {"let x = 1", wire.ModeCompile, wire.ReasonScript, "function handle(req)", 0},
		"1 MB":                    {strings.Repeat(" ", wire.MaxSource), wire.ModeCompile, wire.ReasonSourceBounds, "at most 65536", 0},
		"nested":                  {strings.Repeat("[", 60_000), wire.ModeCompile, wire.ReasonSourceBounds, "500 deep", 1},
		"top level throws":        {hello + "\n" + top + "1 / 0", wire.ModeCompile, wire.ReasonScript, "division by zero", 2},
		"top level was deployed":  {hello + "\n" + top + "2 / 0", wire.ModeServe, wire.ReasonNone, "", 0},
		"top level, draft":        {hello + "\n" + top + "3 / 0", wire.ModeDraft, wire.ReasonScript, "division by zero", 2},
		"handler is no function":  {"let handle = 1", wire.ModeCompile, wire.ReasonScript, "handle is 1, not a function", 0},
		"logs at the top level":   {hello + "\nlog.info(\"x\")", wire.ModeCompile, wire.ReasonNone, "", 0},
		"stack at the top level":  {hello + "\nfunction f() { f() }\nf()", wire.ModeCompile, wire.ReasonScript, "stack overflow", 2},
		"100 names and no errors": {hello + "\n" + strings.Repeat("//\n", 100), wire.ModeCompile, wire.ReasonNone, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			a.t = t
			slot, loaded := a.tryLoad(c.source, c.mode)
			require.Equal(t, c.reason, loaded.Reason, loaded.Message)
			require.Contains(t, loaded.Message, c.message)
			if c.line > 0 {
				require.Equal(t, c.line, loaded.Line)
			}
			if c.reason == wire.ReasonNone {
				require.Equal(t, []string{"handle"}, loaded.Handlers)
			} else {
				require.Empty(t, loaded.Handlers)
				require.Equal(t, wire.ReasonNotLoaded, a.failure(a.invoke(slot)).Reason)
			}
			a.send(wire.TypeUnload, slot, nil)
			a.slots = slot
		})
	}
}

func TestLoadBudget(t *testing.T) {
	a := inProcess(t).greet(0)
	load := loadFrame(hello+"\nrange(10000000000).each(x => try { x } catch (e) { x })", wire.ModeCompile)
	load.Timeout = 50 * time.Millisecond
	a.send(wire.TypeLoad, 0, load)
	f := a.next()
	var loaded wire.Loaded
	require.NoError(t, loaded.Decode(f.payload))
	require.Equal(t, wire.ReasonCompileBudget, loaded.Reason)
}

// The agent sends a call behind its load without waiting, and loads are
// answered in their order.
func TestCallsBehindLoads(t *testing.T) {
	a := inProcess(t).greet(0)
	for slot := range uint64(4) {
		source := fmt.Sprintf("function handle(req) { return %d }\n%s", slot, strings.Repeat("// padding\n", int(4-slot)*500))
		a.send(wire.TypeLoad, slot, loadFrame(source, wire.ModeServe))
		a.invoke(slot)
	}
	loads := uint64(0)
	answers := map[uint64]string{}
	for range 8 {
		switch f := a.next(); f.header.Type {
		case wire.TypeLoaded:
			require.Equal(t, loads, f.header.ID)
			loads++
		case wire.TypeResult:
			var r wire.Result
			require.NoError(t, r.Decode(f.payload))
			answers[f.header.ID] = string(r.Body)
		default:
			require.Fail(t, f.header.Type.String())
		}
	}
	require.Equal(t, map[uint64]string{1: "0", 2: "1", 3: "2", 4: "3"}, answers)
}

func TestUnload(t *testing.T) {
	a := inProcess(t).greet(0)
	slot := a.load(`function handle(req) { return "one" }`)
	require.Equal(t, "one", a.result(a.invoke(slot)))
	a.send(wire.TypeUnload, slot, nil)
	require.Equal(t, wire.ReasonNotLoaded, a.failure(a.invoke(slot)).Reason)
	require.Equal(t, wire.ReasonNotLoaded, a.failure(a.invoke(7)).Reason)
	require.Equal(t, wire.ReasonNotLoaded, a.failure(a.invoke(1<<31)).Reason)
	a.slots = slot
	require.Equal(t, slot, a.load(`function handle(req) { return "two" }`))
	require.Equal(t, "two", a.result(a.invoke(slot)))
}

func TestCompiledScriptsAreKept(t *testing.T) {
	var p programs
	first, err := p.compile([32]byte{1}, []byte(hello))
	require.NoError(t, err)
	again, err := p.compile([32]byte{1}, []byte("not even read"))
	require.NoError(t, err)
	require.Same(t, first, again)
	for i := range maxSpare {
		_, err := p.compile([32]byte{2, byte(i)}, []byte(hello))
		require.NoError(t, err)
	}
	require.Equal(t, maxSpare, p.order.Len())
	require.Len(t, p.cache, maxSpare)
	other, err := p.compile([32]byte{1}, []byte(hello))
	require.NoError(t, err)
	require.NotSame(t, first, other)
}
