package main

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/cli"
)

var update = flag.Bool("update", false, "write docs/cli.md")

//go:generate go test -run=^TestReferenceIsFresh$ -count=1 . -update

func TestReferenceIsFresh(t *testing.T) {
	const path = "../../docs/cli.md"
	want := cli.Reference(commands(func(string) string { return "" }))
	if *update {
		require.NoError(t, os.WriteFile(path, want, 0o644))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "docs/cli.md is stale: make generate")
}
