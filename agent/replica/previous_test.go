package replica

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/previous"
)

// TestTheCopyOfTheVersionBefore: a node that is upgraded serves from its disk at once, and so
// does one that goes back.
func TestTheCopyOfTheVersionBefore(t *testing.T) {
	m, _ := catalogOf(7, "one", "two")
	m.Apps = []picloud.AppConfig{{App: "app", Rev: 7}}
	m.Drained = true
	previous.JSON(t, "manifest.json", m, func(raw []byte) (manifest, error) {
		s := newTestSnapshot(t)
		var inner json.RawMessage
		require.NoError(t, json.Unmarshal(raw, &inner))
		whole, err := json.Marshal(envelope{SHA256: picloud.DigestOf(inner), Manifest: inner})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, manifestFile), whole, 0o600))
		read, err := s.readManifest(manifestFile)
		if err != nil {
			return manifest{}, err
		}
		return *read, nil
	})
}
