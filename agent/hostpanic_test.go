package agent

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor"
)

// A panic of a host function is an error of one call, and not the end of the node.
func TestAHostFunctionMayPanic(t *testing.T) {
	h := newHost(nil, nil, nil)
	h.functions["kv.get"].run = func(context.Context, *grants, *executor.HostCall) (any, error) { panic("at the disco") }
	value, err := h.Call(t.Context(), executor.HostCall{Name: "kv.get", Grants: &grants{}})
	require.Nil(t, value)
	require.ErrorContains(t, err, "at the disco")
	require.ErrorContains(t, err, "hostpanic_test.go", "the log has the way there")
	var known *executor.HostError
	require.NotErrorAs(t, err, &known, "scripts are told nothing of it")
}
