package agent

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/credentials"
	"github.com/picloud/picloud/manager"
)

// fakeUsers is a database with room for one user.
type fakeUsers struct {
	hash     []byte
	failOnce error // after the commit: the answer is lost
}

func (f *fakeUsers) Bootstrap(_ context.Context, _ string, hash []byte) (bool, error) {
	created := f.hash == nil
	if created {
		f.hash = hash
	}
	err := f.failOnce
	f.failOnce = nil
	return created && err == nil, err
}

func (f *fakeUsers) ByToken(_ context.Context, hash []byte) (picloud.User, error) {
	if string(hash) == string(f.hash) {
		return picloud.User{Name: FirstUser, Admin: true}, nil
	}
	return picloud.User{}, picloud.ErrNotFound
}

func TestBootstrapSurvivesALostAnswer(t *testing.T) {
	dir := t.TempDir()
	users := &fakeUsers{failOnce: errors.New("connection lost after the commit")}
	_, _, err := bootstrap(t.Context(), users, dir, credentials.File{Server: "http://localhost:8081"})
	require.Error(t, err)
	require.NoFileExists(t, credentials.Path(dir))

	path, created, err := bootstrap(t.Context(), users, dir, credentials.File{Server: "http://localhost:8081"})
	require.NoError(t, err)
	require.True(t, created)
	c, err := readCredentials(path)
	require.NoError(t, err)
	require.Equal(t, users.hash, manager.HashToken(c.Token), "the token that the database knows")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	_, created, err = bootstrap(t.Context(), users, dir, credentials.File{Server: "http://localhost:9091"})
	require.NoError(t, err)
	require.False(t, created)
	moved, err := readCredentials(path)
	require.NoError(t, err)
	require.Equal(t, c.Token, moved.Token)
	require.Equal(t, "http://localhost:9091", moved.Server, "the port changed")
}

func TestBootstrapLeavesAnExistingAdminAlone(t *testing.T) {
	dir := t.TempDir()
	_, created, err := bootstrap(t.Context(), &fakeUsers{hash: []byte("somebody")}, dir, credentials.File{Server: "http://localhost:8081"})
	require.NoError(t, err)
	require.False(t, created)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestATornPendingTokenIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(credentials.Path(dir)+".new", []byte(`{"token":`), 0o600))
	users := &fakeUsers{}
	path, created, err := bootstrap(t.Context(), users, dir, credentials.File{Server: "http://localhost:8081"})
	require.NoError(t, err)
	require.True(t, created)
	c, err := readCredentials(path)
	require.NoError(t, err)
	require.Equal(t, users.hash, manager.HashToken(c.Token))
}
