package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestPageIsFresh(t *testing.T) {
	have, err := os.ReadFile("../../../docs/errors.md")
	require.NoError(t, err)
	require.Equal(t, page(picloud.Catalogue), string(have), "run: go generate ./internal/problem")
}

func TestPageHoldsEveryCode(t *testing.T) {
	text := page(picloud.Catalogue)
	for _, e := range picloud.Catalogue {
		require.Equal(t, 1, strings.Count(text, "| "+string(e.Code)+" |"), e.Code)
	}
}
