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
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.Geteuid(), ownerOf(info))
	require.NoError(t, asOwner(65533, 65533, path, "picloud x"))
	require.NoError(t, asOwner(65533, 1, path, "picloud x"), "only root leaves files that the owner cannot read")
	require.NoError(t, asOwner(0, 0, path, "picloud x"))
	err = asOwner(0, 65533, path, "picloud x")
	require.Equal(t, picloud.CodeInvalid, picloud.CodeOf(err))
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "run the command as that user: sudo -u '#65533' picloud x", e.Hint)
}
