package dump

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// of is the manifest of a dump.
func of(rev int64, at time.Time, body string) Manifest {
	sum := sha256.Sum256([]byte(body))
	return Manifest{
		Cluster: "0b0b5a2e-9d1c-4d6e-8f5e-0d6a4c1b2a30", Incarnation: "0b0b5a2e-9d1c-4d6e-8f5e-0d6a4c1b2a31", Revision: rev, TakenAt: at.UTC().Truncate(time.Second),
		By: "pi-1", Postgres: "15.18", Migration: 7, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(body)),
	}
}

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// kept returns the revisions of what a store keeps, each compared with its digest.
func kept(t *testing.T, s *Store) (revs []int64) {
	t.Helper()
	for _, m := range s.List() {
		file, err := s.Open(m)
		require.NoError(t, err)
		raw, err := io.ReadAll(file)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		sum := sha256.Sum256(raw)
		require.Equal(t, m.SHA256, hex.EncodeToString(sum[:]))
		revs = append(revs, m.Revision)
	}
	return revs
}

// TestTheNewestAreKept, by what they hold: a board's clock may be wrong. The one that came
// last stays in any case.
func TestTheNewestAreKept(t *testing.T) {
	s := NewStore(filepath.Join(t.TempDir(), "dumps"))
	require.Empty(t, s.List())
	for i, at := range []time.Time{noon, noon.Add(time.Hour), time.Unix(0, 0), noon.Add(2 * time.Hour)} {
		body := strings.Repeat("x", i+1)
		require.NoError(t, s.Receive(of(int64(40+i), at, body), strings.NewReader(body)))
	}
	require.Equal(t, []int64{43, 42}, kept(t, s))
	require.NoError(t, s.Receive(of(7, noon, "restored by hand"), strings.NewReader("restored by hand")))
	require.Equal(t, []int64{43, 7}, kept(t, s))
	again := of(8, noon, "later")
	again.Generation = 1
	require.NoError(t, s.Receive(again, strings.NewReader("later")))
	require.NoError(t, s.Receive(again, strings.NewReader("later")), "a second time")
	require.Equal(t, []int64{8, 43}, kept(t, s))
	entries, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, entries, 4)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), e.Name())
	}
}

// TestADumpThatIsNotWhole is not kept, and costs nothing of what was.
func TestADumpThatIsNotWhole(t *testing.T) {
	s := NewStore(t.TempDir())
	require.NoError(t, s.Receive(of(41, noon, "the old one"), strings.NewReader("the old one")))
	m := of(42, noon.Add(time.Hour), "the new one")
	cut := io.MultiReader(strings.NewReader("the new"), failing{})
	for want, from := range map[string]io.Reader{
		"not the 11 bytes": strings.NewReader("the new"), "has not the 11": strings.NewReader("the new one and more"),
		"digest differs": strings.NewReader("the NEW one"), "broke off": cut,
	} {
		err := s.Receive(m, from)
		require.ErrorContains(t, err, strings.TrimPrefix(want, "not "), want)
		require.Equal(t, picloud.CodeInvalid, picloud.CodeOf(err))
		require.Equal(t, []int64{41}, kept(t, s))
	}
	bad := m
	bad.SHA256 = "../../etc/passwd"
	require.Error(t, s.Receive(bad, strings.NewReader("the new one")))

	// What a crash leaves: a dump without its manifest, parts.
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "20261128T130000Z-00000000.dump"), []byte("x"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, partPrefix+"1"), []byte("x"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, ".own-1"), []byte("that of the keeper"), 0o600))
	require.Equal(t, []int64{41}, kept(t, s))
	require.NoError(t, s.Receive(m, strings.NewReader("the new one")))
	require.Equal(t, []int64{42, 41}, kept(t, s))
	entries, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, entries, 5)

	// A manifest that names another file, or that was damaged, does not count.
	first := s.List()[0]
	raw, err := os.ReadFile(filepath.Join(s.dir, name(first)+manifestSuffix))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "x"+manifestSuffix), raw, 0o600))
	require.Equal(t, []int64{42, 41}, kept(t, s))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, name(first)+manifestSuffix), raw[:len(raw)/2], 0o600))
	require.Equal(t, []int64{41}, kept(t, s))
	require.NoError(t, os.Truncate(filepath.Join(s.dir, name(s.List()[0])+dumpSuffix), 3))
	require.Empty(t, s.List())
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the cable was pulled") }

// TestTwoAtOnce: the second is refused, and the first is kept.
func TestTwoAtOnce(t *testing.T) {
	s := NewStore(t.TempDir())
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.Receive(of(1, noon, "one"), in) }()
	_, err := out.Write([]byte("o"))
	require.NoError(t, err)
	require.Equal(t, picloud.CodeConflict, picloud.CodeOf(s.Receive(of(2, noon, "two"), strings.NewReader("two"))))
	_, err = out.Write([]byte("ne"))
	require.NoError(t, err)
	require.NoError(t, out.Close())
	require.NoError(t, <-done)
	require.Equal(t, []int64{1}, kept(t, s))
}

// TestAFullDisk says so, whether it is full before or in the middle, and loses nothing.
func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() == 0 && syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k") == nil {
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	} else {
		t.Log("a small disk needs root: only the look before is tried")
	}
	s := NewStore(dir)
	s.room = 0
	require.NoError(t, s.Receive(of(41, noon, "the old one"), strings.NewReader("the old one")))
	large := strings.Repeat("y", 1<<20)
	s.room = 1 << 60
	err := s.Receive(of(42, noon, large), strings.NewReader(large))
	require.Equal(t, picloud.CodeDump, picloud.CodeOf(err))
	require.ErrorContains(t, err, "the disk is full")
	if os.Geteuid() == 0 {
		s.room = -1 << 60 // somebody else takes the room meanwhile
		err = s.Receive(of(42, noon, large), strings.NewReader(large))
		require.Equal(t, picloud.CodeDump, picloud.CodeOf(err))
		require.ErrorIs(t, err, syscall.ENOSPC)
	}
	require.Equal(t, []int64{41}, kept(t, s))
	s.room = 0
	require.NoError(t, s.Receive(of(43, noon, "small"), strings.NewReader("small")))
	require.Equal(t, []int64{43, 41}, kept(t, s))
}

// TestADumpTravels with its manifest in front.
func TestADumpTravels(t *testing.T) {
	m := of(41, noon, "a dump")
	r, n, err := Write(m, strings.NewReader("a dump"))
	require.NoError(t, err)
	raw, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Len(t, raw, int(n))
	got, body, err := Read(bytes.NewReader(raw))
	require.NoError(t, err)
	require.Equal(t, m, got)
	rest, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, "a dump", string(rest))
	_, _, err = Read(strings.NewReader(strings.Repeat(" ", 1<<20)))
	require.ErrorContains(t, err, "too long")
}

// FuzzRead: whatever another node sends, the result is an error or a manifest within its
// bounds, whose files are in the folder.
func FuzzRead(f *testing.F) {
	r, _, err := Write(of(41, noon, "a dump"), strings.NewReader("a dump"))
	require.NoError(f, err)
	whole, err := io.ReadAll(r)
	require.NoError(f, err)
	f.Add(whole)
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"sha256":"../x","taken_at":"9999-12-31T23:59:59+23:59"}` + "\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, _, err := Read(bytes.NewReader(raw))
		if err != nil {
			return
		}
		require.NoError(t, m.Check())
		require.Regexp(t, `^\d{8}T\d{6}Z-[0-9a-fA-F]{8}$`, name(m))
		require.LessOrEqual(t, m.Size, int64(MaxSize))
	})
}
