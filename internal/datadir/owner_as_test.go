package datadir

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// TestRootDoesNotWriteIntoTheFolderOfAnother: the node could not read it.
func TestRootDoesNotWriteIntoTheFolderOfAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.json")
	require.NoError(t, AsOwner(path, "picloud x"), "a missing file is another trouble")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, AsOwner(path, "picloud x"))
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	require.NoError(t, os.Chown(path, 65533, 65533))
	err := AsOwner(path, "picloud x")
	require.Equal(t, picloud.CodeInvalid, picloud.CodeOf(err))
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "run the command as that user: sudo -u '#65533' picloud x", e.Hint)
}
