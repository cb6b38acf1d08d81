package executor

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/internal/hook"
	"github.com/picloud/picloud/internal/testworker"
)

// BenchmarkColdStartLayers tells what the layers cost: all of them, those of a
// process without namespaces, and none but resource limits.
func BenchmarkColdStartLayers(b *testing.B) {
	none := append(sandbox.Namespaces(), sandbox.Landlock, sandbox.Seccomp, sandbox.Capabilities)
	for _, c := range []struct {
		name    string
		without []string
	}{{"all", nil}, {"plain", sandbox.Namespaces()}, {"none", none}} {
		b.Run(c.name, func(b *testing.B) {
			e, err := NewHooked(Options{WorkerPath: testworker.Path(b), MemoryCap: 1 << 30, Sandbox: SandboxBestEffort}, hook.Executor{Spawn: hook.Spawn{Without: c.without}})
			require.NoError(b, err)
			require.NoError(b, e.Start(context.Background()))
			defer e.Stop()
			coldStarts(b, e)
		})
	}
}
