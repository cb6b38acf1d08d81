package caddymodule

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestExecutorSettings(t *testing.T) {
	opts, err := texts{"executor_idle": "5m", "executor_memory": "1GiB", "executor_workers": "2"}.read()
	require.NoError(t, err)
	require.Equal(t, 5*time.Minute, opts.ExecutorIdle)
	require.EqualValues(t, 1<<30, opts.ExecutorMemory)
	require.Equal(t, 2, opts.ExecutorWorkers)
	for want, wrong := range map[string]texts{
		"executor_idle is \"0s\"":       {"executor_idle": "0s"},
		"executor_idle is \"soon\"":     {"executor_idle": "soon"},
		"executor_memory is \"63MiB\"":  {"executor_memory": "63MiB"},
		"executor_memory is \"much\"":   {"executor_memory": "much"},
		"transit_memory is \"63MiB\"":   {"transit_memory": "63MiB"},
		"executor_workers is \"0\"":     {"executor_workers": "0"},
		"executor_workers is \"70000\"": {"executor_workers": "70000"},
	} {
		_, err := wrong.read()
		require.ErrorContains(t, err, want)
	}
}
