package dump

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/machine"
)

const (
	// Kept is how many dumps a node keeps.
	Kept = 2
	// room is what a dump leaves free on the disk, in bytes.
	room = 64 << 20

	dumpSuffix, manifestSuffix, partPrefix = ".dump", ".json", ".part-"
)

// Store is the folder of the dumps that a node keeps. A dump counts with its manifest only,
// which is written last. One process uses a folder.
type Store struct {
	dir  string
	room int64
	mu   sync.Mutex // held while a dump comes in
}

// NewStore returns the store of a folder, which is made when needed.
func NewStore(dir string) *Store { return &Store{dir: dir, room: room} }

// name is that of a dump's files, without suffix. It differs where the dump does.
func name(m Manifest) string { return m.TakenAt.UTC().Format("20060102T150405Z") + "-" + m.SHA256[:8] }

// Receive keeps a dump, and drops the oldest of those that are more than Kept. Whatever goes wrong,
// what was kept before stays. One dump comes in at a time.
func (s *Store) Receive(m Manifest, from io.Reader) error {
	if err := m.Check(); err != nil {
		return err
	}
	if !s.mu.TryLock() {
		return &picloud.Error{Code: picloud.CodeConflict, Op: "keep dump", Detail: "another dump comes in at this moment", Hint: "try again when it is there"}
	}
	defer s.mu.Unlock()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return s.disk(err)
	}
	s.sweep()
	if err := s.fits(m.Size); err != nil {
		return err
	}
	base := filepath.Join(s.dir, name(m))
	if err := s.fill(base+dumpSuffix, m, from); err != nil {
		return err
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("keep dump: %w", err)
	}
	if err := datadir.WriteFile(base+manifestSuffix, raw); err != nil {
		os.Remove(base + dumpSuffix)
		return s.disk(err)
	}
	s.prune(name(m))
	return nil
}

// fill writes a dump to its place, if it is what the manifest says.
func (s *Store) fill(path string, m Manifest, from io.Reader) error {
	file, err := os.CreateTemp(s.dir, partPrefix)
	if err != nil {
		return s.disk(err)
	}
	defer os.Remove(file.Name()) // nothing is left of it once it was renamed
	sum := sha256.New()
	disk := &writer{to: file}
	n, err := io.Copy(io.MultiWriter(disk, sum), io.LimitReader(from, m.Size+1))
	switch {
	case disk.err != nil:
		err = s.disk(disk.err)
	case err != nil:
		err = broken("it broke off", err)
	case n != m.Size:
		err = broken(fmt.Sprintf("it has not the %d bytes that its manifest says", m.Size), nil)
	case hex.EncodeToString(sum.Sum(nil)) != strings.ToLower(m.SHA256):
		err = broken("it is not what its manifest says: the digest differs", nil)
	default:
		if err = file.Sync(); err != nil {
			err = s.disk(err)
		}
	}
	if closed := file.Close(); err == nil && closed != nil {
		err = s.disk(closed)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return s.disk(err)
	}
	if err := datadir.SyncDir(s.dir); err != nil {
		return s.disk(err)
	}
	return nil
}

// writer remembers that the disk did not take something.
type writer struct {
	to  io.Writer
	err error
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.err = err
	return n, err
}

func broken(detail string, cause error) error {
	return &picloud.Error{Code: picloud.CodeInvalid, Op: "keep dump", Detail: detail, Err: cause}
}

// disk explains trouble with the folder.
func (s *Store) disk(cause error) error {
	e := &picloud.Error{Code: picloud.CodeDump, Op: "keep dump", Resource: s.dir, Err: cause}
	if errors.Is(cause, syscall.ENOSPC) || errors.Is(cause, syscall.EDQUOT) {
		e.Detail, e.Hint = "the disk is full; the dumps before are still there", "free some space there"
	}
	return e
}

// fits looks whether the disk has room.
func (s *Store) fits(size int64) error {
	free, _, err := machine.Disk(s.dir)
	if err != nil {
		return s.disk(err)
	}
	if free-size < s.room {
		return s.disk(fmt.Errorf("%d MB are free for a dump of %d MB: %w", free>>20, size>>20, syscall.ENOSPC))
	}
	return nil
}

// sweep deletes what was not ended: a dump without its manifest, parts of both. The name of a
// manifest's part begins with a dot and the year.
func (s *Store) sweep() {
	entries, _ := os.ReadDir(s.dir)
	for _, e := range entries {
		n := e.Name()
		base, isDump := strings.CutSuffix(n, dumpSuffix)
		_, err := os.Stat(filepath.Join(s.dir, base+manifestSuffix))
		if strings.HasPrefix(n, partPrefix) || strings.HasPrefix(n, ".2") || isDump && errors.Is(err, fs.ErrNotExist) {
			os.Remove(filepath.Join(s.dir, n))
		}
	}
}

// prune deletes all dumps but the newest ones. The one that has just come stays: whatever its
// clock says, it is what the database holds.
func (s *Store) prune(fresh string) {
	kept := 1
	for _, m := range s.List() {
		if name(m) == fresh {
			continue
		}
		if kept++; kept > Kept {
			base := filepath.Join(s.dir, name(m))
			os.Remove(base + manifestSuffix) // without it the other one does not count
			os.Remove(base + dumpSuffix)
		}
	}
}

// List returns the manifests of the dumps that are whole, the newest first. What cannot be
// read is left out.
func (s *Store) List() []Manifest {
	out := []Manifest{}
	entries, _ := os.ReadDir(s.dir)
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), manifestSuffix)
		if !ok || strings.HasPrefix(base, ".") {
			continue
		}
		m, err := s.manifest(base)
		if err != nil || name(m) != base {
			continue
		}
		if info, err := os.Stat(filepath.Join(s.dir, base+dumpSuffix)); err != nil || info.Size() != m.Size {
			continue
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Manifest) int { return cmp.Or(b.Compare(a), cmp.Compare(a.SHA256, b.SHA256)) })
	return out
}

func (s *Store) manifest(base string) (m Manifest, err error) {
	file, err := os.Open(filepath.Join(s.dir, base+manifestSuffix))
	if err != nil {
		return m, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxManifest+1))
	if err != nil || len(raw) > maxManifest {
		return m, errors.Join(errors.New("it is too long"), err)
	}
	return decode(raw)
}

// Open opens a dump that is kept. The caller closes it.
func (s *Store) Open(m Manifest) (*os.File, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(s.dir, name(m)+dumpSuffix))
	if err != nil {
		return nil, &picloud.Error{Code: picloud.CodeNotFound, Op: "open dump", Resource: name(m), Detail: "this node does not keep it", Err: err}
	}
	return file, nil
}
