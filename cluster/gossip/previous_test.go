package gossip

import (
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/previous"
)

// TestMetaOfTheVersionBefore: nodes of both versions hear what the other says of itself.
func TestMetaOfTheVersionBefore(t *testing.T) {
	message := Meta{Name: "pi-1", Address: "10.0.0.1:7947", Role: "manager", Rev: 7, Epoch: 3, Database: true, Hosts: true, Version: "v0.1.0", KeyRev: 2}
	before := previous.Read(t, "meta.cbor", message.encode)
	read, ok := decodeMeta(before)
	require.True(t, ok)
	require.Equal(t, message, read)

	var known, written map[any]any
	require.NoError(t, cbor.Unmarshal(before, &known))
	require.NoError(t, cbor.Unmarshal(message.encode(), &written))
	require.NoError(t, previous.Covers(known, written))

	known[uint64(99)] = []string{"of a later version"}
	later, err := cbor.Marshal(known)
	require.NoError(t, err)
	read, ok = decodeMeta(later)
	require.True(t, ok)
	require.Equal(t, message, read)
}
