package picloud

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	for name, valid := range map[string]bool{
		"a": true, "hello-2": true, strings.Repeat("a", MaxNameLength): true,
		"": false, "2a": false, "-a": false, "A": false, "a_b": false, "a\n": false, "../x": false, strings.Repeat("a", MaxNameLength+1): false,
	} {
		require.Equal(t, valid, ValidName(name), "%q", name)
		require.Equal(t, valid, CheckName("app", name) == nil, "%q", name)
	}
}
