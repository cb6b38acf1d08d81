package credentials_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/credentials"
)

func TestAFileIsReadAsItWasWritten(t *testing.T) {
	path := credentials.Path(filepath.Join(t.TempDir(), "new", "folder"))
	want := credentials.File{Server: "http://localhost:8081", Functions: "http://localhost:8080", User: "admin", Token: "pct_1"}
	require.NoError(t, credentials.Write(path, credentials.File{Token: "pct_0"}))
	require.NoError(t, credentials.Write(path, want))

	got, open, err := credentials.Read(path)
	require.NoError(t, err)
	require.False(t, open)
	require.Equal(t, want, got)
	for name, mode := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), name)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")

	require.NoError(t, os.Chmod(path, 0o640))
	_, open, err = credentials.Read(path)
	require.NoError(t, err)
	require.True(t, open, "the group may read it")
}

func TestWhatIsNotACredentialsFile(t *testing.T) {
	path := credentials.Path(t.TempDir())
	_, _, err := credentials.Read(path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	for text, want := range map[string]string{
		`{"token":`: credentials.ErrFormat.Error(),
		`{"token":"` + strings.Repeat("x", credentials.MaxSize) + `"}`: "holds more than 65536 bytes",
		`{"server":"http://localhost:8081"}`:                           credentials.ErrNoToken.Error(),
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, _, err := credentials.Read(path)
		require.EqualError(t, err, want)
	}
}
