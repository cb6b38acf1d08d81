package datadir

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestWhoseFilesAreBelieved(t *testing.T) {
	none := func(string) string { return "" }
	require.ElementsMatch(t, Owners{os.Geteuid(), 0}, Believed(none))
	caller := Believed(func(name string) string { return map[string]string{"SUDO_UID": "4711"}[name] })
	require.Equal(t, os.Geteuid() == 0, len(caller) == 3, "only root has been called through sudo")

	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	require.NoError(t, Believed(none).Check(dir))
	require.NoError(t, Believed(none).Check(link))
	require.NoError(t, Believed(none).Check(filepath.Join(dir, "none")))

	stranger := Owners{os.Geteuid() + 1}
	for _, path := range []string{dir, link} {
		err := stranger.Check(path)
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, "(uid "+strconv.Itoa(os.Geteuid())+")")
		require.ErrorIs(t, err, picloud.ErrInvalid)
		require.NoError(t, stranger.With(dir).Check(path), "somebody named the folder")
	}
}

// TestALinkOfSomebodyElse leads to a folder that is believed. It is not.
func TestALinkOfSomebodyElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can make files of other users")
		return
	}
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(t.TempDir(), link))
	require.NoError(t, os.Lchown(link, 65534, 65534))
	var foreign *Foreign
	require.ErrorAs(t, Owners{0}.Check(link), &foreign)
	require.Contains(t, foreign.Owner, "65534")
}

func TestRootFindsTheSocketOfAUser(t *testing.T) {
	deep := t.TempDir()
	for len(deep) < 120 {
		deep = filepath.Join(deep, "long-name")
	}
	require.NoError(t, os.MkdirAll(deep, 0o700))
	require.Equal(t, NodeSocket(deep), FindNodeSocket(deep))
	if os.Geteuid() != 0 {
		t.Log("only root can make folders of other users")
		return
	}
	require.NoError(t, os.Chown(deep, 65534, 65534))
	require.Equal(t, filepath.Join(Temporary(deep, 65534), nodeSocket), FindNodeSocket(deep))
}
