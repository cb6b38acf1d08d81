package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoCommandReplacesTheBinary: Caddy has commands that download a Caddy in the place
// of the running executable, which is picloud here.
func TestNoCommandReplacesTheBinary(t *testing.T) {
	caddy, _, err := commands(func(string) string { return "" }).Find([]string{"caddy"})
	require.NoError(t, err)
	var names []string
	for _, cmd := range caddy.Commands() {
		names = append(names, cmd.Name())
	}
	require.Contains(t, names, "adapt")
	for _, name := range []string{"upgrade", "add-package", "remove-package"} {
		require.NotContains(t, names, name)
	}
}
