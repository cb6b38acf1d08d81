package executor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/hook"
	"github.com/picloud/picloud/internal/testworker"
)

// TestRealNeedsNothingRefused runs scripts in workers that end at the first
// refused system call.
func TestRealNeedsNothingRefused(t *testing.T) {
	path := testworker.Path(t)
	e := launch(t, func(o *testOptions) {
		o.WorkerPath, o.WorkerArgs, o.Layers = path, hook.Sandbox{Kill: true}.Args(), nil
	})
	quick := func(l *picloud.Limits) { l.Timeout = picloud.Duration(300 * time.Millisecond) }
	for name, c := range map[string]struct {
		source string
		want   picloud.Code
	}{
		"json":   {`function handle(req) { log.info("x", {a: 1}); return {list: list(range(10000)).map(x => {return {n: x}})} }`, ""},
		"crypto": {`function handle(req) { return crypto.uuid() + base64.encode(crypto.random(32)) + crypto.sha256("x") }`, ""},
		"time":   {`function handle(req) { return "" + time.now() }`, ""},
		"error":  {`function handle(req) { return nothing.at.all }`, picloud.CodeFunctionError},
		"deep":   {`function f(x) { return f(x + 1) } function handle(req) { return f(0) }`, picloud.CodeFunctionError},
		"spin":   {`function handle(req) { range(1000000000).each(x => x) }`, picloud.CodeFunctionTimeout},
		"memory": {`function handle(req) { return list(range(1000000000)) }`, picloud.CodeFunctionMemory},
	} {
		change := quick
		if c.want != picloud.CodeFunctionTimeout {
			change = nil
		}
		f := version(e, name, "f", c.source, 1, change)
		for range 20 {
			_, err := invoke(t, f, "/")
			if name == "crypto" || name == "time" { // what exists there is another package's to say
				require.NotEqual(t, picloud.CodeFunctionCrash, picloud.CodeOf(err), "%v", err)
				continue
			}
			if c.want == "" {
				require.NoError(t, err, name)
				continue
			}
			require.Equal(t, c.want, picloud.CodeOf(err), "%s: %v", name, err)
			if c.want == picloud.CodeFunctionMemory || c.want == picloud.CodeFunctionTimeout {
				break
			}
		}
	}
	require.Zero(t, e.kills(causeCrash)+e.kills(causeSandbox))
}
