package datadir

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestOneHolderAtATime(t *testing.T) {
	dir := t.TempDir()
	lock, err := Acquire(dir)
	require.NoError(t, err)
	_, err = Acquire(dir)
	require.ErrorIs(t, err, picloud.ErrConflict)
	require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Hint, "`picloud stop`")
	pid, held, err := Holder(dir)
	require.NoError(t, err)
	require.True(t, held)
	require.Equal(t, os.Getpid(), pid)
	require.NoError(t, write(lock.file, "1\n")) // as a process of a container would see itself
	pid, held, err = Holder(dir)
	require.NoError(t, err)
	require.True(t, held)
	require.Zero(t, pid, "process 1 does not have the lock open")
	lock.Release()
	_, held, err = Holder(dir)
	require.NoError(t, err)
	require.False(t, held)
	lock, err = Acquire(dir)
	require.NoError(t, err)
	lock.Release()
}

func TestHolderOfNoFolder(t *testing.T) {
	_, held, err := Holder(filepath.Join(t.TempDir(), "none"))
	require.NoError(t, err)
	require.False(t, held)
}

func TestQuote(t *testing.T) {
	require.Equal(t, "/var/lib/picloud", Quote("/var/lib/picloud"))
	require.Equal(t, `'/my cloud/$HOME'`, Quote("/my cloud/$HOME"))
	require.Equal(t, `'it'\''s'`, Quote("it's"))
	require.Equal(t, `''`, Quote(""))
}

func TestPrepare(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, Prepare(dir))
	require.NoError(t, Prepare(dir), "again")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "the probe is gone")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, bad := range []string{file, "/proc/picloud"} {
		err := Prepare(bad)
		require.ErrorIs(t, err, picloud.ErrInvalid, bad)
		require.ErrorContains(t, err, bad)
	}
}

func TestWriteFileReplacesWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, WriteFile(path, []byte("a long first content")))
	require.NoError(t, WriteFile(path, []byte("second")))
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "second", string(raw))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary files stay")
}

func TestALongPathGetsAShortRunDir(t *testing.T) {
	deep := t.TempDir()
	for len(deep) < 120 {
		deep = filepath.Join(deep, "long-name")
	}
	dir, err := RunDir(deep)
	require.NoError(t, err)
	defer os.Remove(dir)
	require.LessOrEqual(t, len(dir), maxSocketDir)
	require.NoError(t, os.Chmod(dir, 0o777))
	_, err = RunDir(deep)
	require.ErrorIs(t, err, picloud.ErrInvalid, "others could have put something into it")
}
