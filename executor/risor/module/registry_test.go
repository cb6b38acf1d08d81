package module

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDocs(t *testing.T) {
	require.Equal(t, "json.stringify(value: any, indent?: int) -> string", jsonModule().Functions[1].Signature("json"))
	require.Len(t, Builtins(), 26)
}
