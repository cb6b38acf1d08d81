package caddymodule

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestExecutorSettings(t *testing.T) {
	opts, err := (&App{Data: t.TempDir(), ExecutorIdle: "5m", ExecutorMemory: "1GiB", ExecutorWorkers: "2"}).options()
	require.NoError(t, err)
	require.Equal(t, 5*time.Minute, opts.ExecutorIdle)
	require.EqualValues(t, 1<<30, opts.ExecutorMemory)
	require.Equal(t, 2, opts.ExecutorWorkers)
	for want, app := range map[string]App{
		"executor_idle is \"0s\"":       {ExecutorIdle: "0s"},
		"executor_idle is \"soon\"":     {ExecutorIdle: "soon"},
		"executor_memory is \"63MiB\"":  {ExecutorMemory: "63MiB"},
		"executor_memory is \"much\"":   {ExecutorMemory: "much"},
		"executor_workers is \"0\"":     {ExecutorWorkers: "0"},
		"executor_workers is \"70000\"": {ExecutorWorkers: "70000"},
	} {
		_, err := app.options()
		require.ErrorContains(t, err, want)
	}
}
