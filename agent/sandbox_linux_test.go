package agent

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/internal/testworker"
)

// TestSandboxFindings has one line for each layer, whatever this machine permits.
func TestSandboxFindings(t *testing.T) {
	list := sandboxFindings(context.Background(), Options{WorkerPath: testworker.Path(t), Sandbox: executor.SandboxBestEffort})
	require.Equal(t, "ok", list[0].State, list[0])
	require.Contains(t, list[0].Detail, "best_effort; executors start ")
	var parts []string
	for _, f := range list[1:] {
		name, found := strings.CutPrefix(f.Part, "sandbox: ")
		require.True(t, found, f)
		require.NotEmpty(t, f.Detail, f)
		require.Equal(t, f.State == "ok", f.Remedy == "", f)
		parts = append(parts, name)
	}
	// A user namespace is only the means for the other namespaces; root may not need it.
	want := append(append(sandbox.Own(), sandbox.Namespaces()...), sandbox.OwnUID)
	if !slices.Contains(parts, sandbox.UserNamespace) {
		require.Zero(t, os.Geteuid())
		want = slices.DeleteFunc(want, func(name string) bool { return name == sandbox.UserNamespace })
	}
	require.ElementsMatch(t, want, parts)

	list = sandboxFindings(context.Background(), Options{WorkerPath: t.TempDir() + "/none"})
	require.Len(t, list, 1)
	require.Equal(t, "fail", list[0].State)
	require.NotEmpty(t, list[0].Remedy)
}

func TestLayerFinding(t *testing.T) {
	off := executor.SandboxLayer{Name: sandbox.Landlock, Reason: "the kernel does not have it (ENOSYS)", Remedy: "another kernel"}
	enough := layerFinding(off, executor.SandboxStrict, nil)
	require.Equal(t, Finding{"sandbox: landlock", "warn", "off: the kernel does not have it (ENOSYS)", "another kernel"}, enough)
	lacks := [][]string{{"landlock", "empty_root"}}
	require.Equal(t, "fail", layerFinding(off, executor.SandboxStrict, lacks).State)
	require.Equal(t, "warn", layerFinding(off, executor.SandboxBestEffort, lacks).State)
	require.Equal(t, "warn", layerFinding(executor.SandboxLayer{Name: sandbox.NetNamespace}, executor.SandboxStrict, lacks).State)
	require.Equal(t, "ok", layerFinding(executor.SandboxLayer{Name: sandbox.Seccomp, On: true, Meaning: "x"}, executor.SandboxStrict, lacks).State)
}
