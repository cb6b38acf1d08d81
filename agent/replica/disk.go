package replica

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
)

// disk is the node's copy of the catalog on disk, from which it serves
// before and without the database. Sources are objects named by their digest;
// a manifest names the routes and the revision. The manifest before the
// current one is kept as a fallback.
//
//	catalog/objects/<sha256>     one script each
//	catalog/manifest.json        what is served
//	catalog/manifest.prev.json   what was served before
type disk struct {
	dir string
	log *slog.Logger
}

// manifest is one state of the catalog.
type manifest struct {
	Format      int             `json:"format"` // 2
	Incarnation string          `json:"incarnation"`
	Rev         int64           `json:"rev"`
	Routes      []picloud.Route `json:"routes"`
	// Apps have their secrets sealed, with keys that are not on this disk but
	// for the cluster's, in a file of its own.
	Apps    []picloud.AppConfig `json:"apps,omitempty"`
	Limits  picloud.Limits      `json:"limits,omitzero"`  // of this node
	Drained bool                `json:"drained,omitzero"` // an admin took this node out of service
}

// envelope guards a manifest with a digest, since a torn or flipped byte in it
// could otherwise be a valid manifest of something else.
type envelope struct {
	SHA256   picloud.Digest  `json:"sha256"`
	Manifest json.RawMessage `json:"manifest"`
}

const (
	manifestFormat   = 2
	routesFormat     = 1 // had routes only
	manifestFile     = "manifest.json"
	manifestPrevFile = "manifest.prev.json"
)

func openDisk(dataDir string, log *slog.Logger) (*disk, error) {
	s := &disk{dir: filepath.Join(dataDir, "catalog"), log: log}
	if err := datadir.MakeDir(s.objects()); err != nil {
		return nil, fmt.Errorf("create catalog folder: %w", err)
	}
	return s, nil
}

func (s *disk) objects() string { return filepath.Join(s.dir, "objects") }

func (s *disk) object(d picloud.Digest) string { return filepath.Join(s.objects(), d.String()) }

// load returns the newest manifest that is whole, with the sources that are.
// Routes whose source is damaged are left out and counted in damaged; the
// caller then fetches the whole catalog again. A nil manifest means that
// there is nothing to serve from.
func (s *disk) load() (m *manifest, sources map[picloud.Digest][]byte, damaged int) {
	for _, name := range []string{manifestFile, manifestPrevFile} {
		found, err := s.readManifest(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			damaged++
			s.log.Warn("damaged catalog copy on disk; falling back and fetching it again",
				slog.String("file", name), slog.Any("error", err))
			continue
		}
		m = found
		break
	}
	if m == nil {
		return nil, nil, damaged
	}
	sources = make(map[picloud.Digest][]byte, len(m.Routes))
	m.Routes = slices.DeleteFunc(m.Routes, func(r picloud.Route) bool {
		if _, ok := sources[r.Digest]; ok {
			return false
		}
		source, err := s.readObject(r.Digest)
		if err != nil {
			damaged++
			s.log.Warn("damaged function source on disk; fetching it again",
				slog.String("app", r.App), slog.String("function", r.Function), slog.Any("error", err))
			return true
		}
		sources[r.Digest] = source
		return false
	})
	return m, sources, damaged
}

func (s *disk) readManifest(name string) (*manifest, error) {
	raw, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		return nil, err
	}
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("decode envelope: %w", err)
	}
	if picloud.DigestOf(e.Manifest) != e.SHA256 {
		return nil, errors.New("digest does not match the content")
	}
	var m manifest
	if err := json.Unmarshal(e.Manifest, &m); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	switch m.Format {
	case manifestFormat:
	case routesFormat:
		// An older format: the node serves its routes, and asks for the whole catalog.
		m = manifest{Format: manifestFormat, Rev: m.Rev, Routes: m.Routes}
	default:
		return nil, fmt.Errorf("format %d is not %d", m.Format, manifestFormat)
	}
	return &m, nil
}

func (s *disk) readObject(d picloud.Digest) ([]byte, error) {
	source, err := os.ReadFile(s.object(d))
	if err != nil {
		return nil, err
	}
	if picloud.DigestOf(source) != d {
		return nil, fmt.Errorf("object %s: digest does not match the content", d)
	}
	return source, nil
}

// save makes m durable, with the sources that it names and the disk does not
// have yet: objects first, then the manifest that names them, then objects
// that nothing names any more are removed.
func (s *disk) save(m manifest, fresh map[picloud.Digest][]byte) error {
	m.Format = manifestFormat
	for d, source := range fresh {
		if err := datadir.ReplaceFile(s.object(d), source); err != nil {
			return err
		}
	}
	if len(fresh) > 0 {
		if err := datadir.SyncDir(s.objects()); err != nil {
			return err
		}
	}
	inner, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	raw, err := json.Marshal(envelope{SHA256: picloud.DigestOf(inner), Manifest: inner})
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	current := filepath.Join(s.dir, manifestFile)
	if err := s.keepPrevious(current); err != nil {
		return err
	}
	if err := datadir.WriteFile(current, raw); err != nil {
		return err
	}
	s.collect(m)
	return nil
}

// keepPrevious links the current manifest as the previous one, if it is whole.
func (s *disk) keepPrevious(current string) error {
	if _, err := s.readManifest(manifestFile); err != nil {
		return nil //nolint:nilerror // a damaged or missing manifest is not a fallback to keep
	}
	prev := filepath.Join(s.dir, manifestPrevFile)
	if err := os.Remove(prev); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep previous manifest: %w", err)
	}
	if err := os.Link(current, prev); err != nil {
		return fmt.Errorf("keep previous manifest: %w", err)
	}
	return nil
}

// collect removes objects that neither manifest names. Failures are harmless:
// the next save tries again.
func (s *disk) collect(m manifest) {
	keep := make(map[string]bool, len(m.Routes))
	for _, r := range m.Routes {
		keep[r.Digest.String()] = true
	}
	if prev, err := s.readManifest(manifestPrevFile); err == nil {
		for _, r := range prev.Routes {
			keep[r.Digest.String()] = true
		}
	}
	entries, err := os.ReadDir(s.objects())
	if err != nil {
		return
	}
	for _, e := range entries {
		if !keep[e.Name()] {
			os.Remove(filepath.Join(s.objects(), e.Name()))
		}
	}
}

// Kept counts the functions and apps of the copy in a data folder. It reports whether
// there is a copy.
func Kept(dataDir string) (functions, apps int, found bool) {
	s := &disk{dir: filepath.Join(dataDir, "catalog"), log: slog.New(slog.DiscardHandler)}
	for _, name := range []string{manifestFile, manifestPrevFile} {
		m, err := s.readManifest(name)
		if err != nil {
			continue
		}
		of := map[string]bool{}
		for _, r := range m.Routes {
			of[r.App] = true
		}
		return len(m.Routes), len(of), true
	}
	return 0, 0, false
}
