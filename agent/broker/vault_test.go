package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/problem"
	"github.com/picloud/picloud/internal/seal"
)

// clusterOf is a database that knows of a key, or is down.
type clusterOf struct {
	id     string
	claim  func(id string) // what comes before a claim
	broken error           // of a claim whose answer is lost
}

func (c *clusterOf) KeyID(context.Context) (string, error) { return c.id, nil }

func (c *clusterOf) ClaimKeyID(_ context.Context, id string) (string, error) {
	if c.claim != nil {
		c.claim(id)
	}
	if c.id == "" {
		c.id = id
	}
	return c.id, c.broken
}

func TestAKeyThatCameSecondIsRemoved(t *testing.T) {
	dir, other := t.TempDir(), seal.Generate()
	v := NewVault(dir, slog.New(slog.DiscardHandler))
	store := &clusterOf{}
	store.claim = func(string) {
		require.FileExists(t, seal.Path(dir), "on disk before it is claimed")
		store.id = other.ID() // another node is first
	}
	require.NoError(t, v.Establish(t.Context(), store))
	require.NoFileExists(t, seal.Path(dir))
	made, trouble := v.State()
	require.False(t, made)
	require.ErrorContains(t, trouble, "does not have the cluster's key")
}

// A key whose claim got no answer may be the cluster's: its file is the only
// copy, also when it cannot be read at the moment.
func TestAKeyThatMayBeClaimedStays(t *testing.T) {
	dir := t.TempDir()
	v := NewVault(dir, slog.New(slog.DiscardHandler))
	store := &clusterOf{broken: errors.New("connection lost")}
	require.ErrorIs(t, v.Establish(t.Context(), store), store.broken)
	require.NoError(t, os.Chmod(seal.Path(dir), 0o644))
	require.NoError(t, v.Establish(t.Context(), store))
	made, trouble := v.State()
	require.True(t, made)
	require.ErrorContains(t, trouble, "mode 644")
	require.FileExists(t, seal.Path(dir))

	// Nor is a file that somebody else put there removed.
	v, store = NewVault(t.TempDir(), slog.New(slog.DiscardHandler)), &clusterOf{broken: errors.New("connection lost")}
	require.Error(t, v.Establish(t.Context(), store))
	require.NoError(t, os.Remove(seal.Path(v.dir)))
	put := seal.Generate()
	require.NoError(t, put.Save(v.dir))
	store.id = seal.Generate().ID()
	require.NoError(t, v.Establish(t.Context(), store))
	key, err := seal.Load(v.dir)
	require.NoError(t, err)
	require.Equal(t, put.ID(), key.ID())
}

// Functions are told that there is not a valid key, and do not wait for the database.
func TestNobodyWaitsForTheDatabase(t *testing.T) {
	v := NewVault(t.TempDir(), slog.New(slog.DiscardHandler))
	v.Look()
	require.NoError(t, v.Establish(t.Context(), &clusterOf{claim: func(string) {
		_, err := v.writable()
		require.Equal(t, picloud.CodeSecrets, picloud.CodeOf(err))
	}}))
	_, err := v.writable()
	require.NoError(t, err)
}

// TestDevelopersSeeNoPlaces seals on nodes without a usable key: what a developer is told
// has no path of the node's disk, the node's own log has.
func TestDevelopersSeeNoPlaces(t *testing.T) {
	for name, spoil := range map[string]func(dir string){
		"no key": func(string) {},
		"another cluster's": func(dir string) {
			require.NoError(t, seal.Generate().Save(dir))
		},
		"readable by others": func(dir string) {
			require.NoError(t, seal.Generate().Save(dir))
			require.NoError(t, os.Chmod(seal.Path(dir), 0o644))
		},
		"no key at all": func(dir string) { require.NoError(t, os.WriteFile(seal.Path(dir), []byte("x"), 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			spoil(dir)
			v := NewVault(dir, slog.New(slog.DiscardHandler))
			v.Expect(seal.Generate().ID())
			v.Look()
			_, sealing := v.Seal("shop", "NAME", nil, []byte("value"))
			_, making := v.FreshKey("shop")
			for _, err := range []error{sealing, making} {
				require.Equal(t, picloud.CodeSecrets, picloud.CodeOf(err))
				shown, jsonErr := json.Marshal(problem.Of(err, "id"))
				require.NoError(t, jsonErr)
				require.NotContains(t, string(shown), dir)
				require.Contains(t, string(shown), "picloud doctor")
			}
			_, trouble := v.State()
			require.Contains(t, fmt.Sprintf("%+v", problem.Of(trouble, "")), dir, "the owner is told")
		})
	}
}
