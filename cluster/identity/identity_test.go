package identity

import (
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
)

func TestSaveAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	_, err := Load(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, Save(dir, nil, nil), fs.ErrNotExist)

	a := authority(t, clusterA)
	leaf := enrol(t, a, dir, node1, Manager, now)
	_, err = Load(dir)
	require.ErrorIs(t, err, fs.ErrNotExist, "a key alone is no identity")
	require.NoError(t, Save(dir, leaf, a.Certificate()))
	i, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, node1, i.Peer().Node)
	require.Equal(t, Manager, i.Peer().Role)
	require.Equal(t, a.Certificate(), i.RootsPEM())
	require.Equal(t, now.Add(180*24*time.Hour), i.Expires())
	require.WithinDuration(t, now.Add(119*24*time.Hour), i.RenewAt(), 24*time.Hour)
	require.Len(t, i.Certificate().Certificate, 2, "the root is shown too")

	key, err := MakeOrLoadKey(dir)
	require.NoError(t, err)
	require.Equal(t, i.key.private, key.private)
	for _, name := range []string{keyFile, certificateFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), name)
	}
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
}

func TestSaveRefusesWhatDoesNotBelongTogether(t *testing.T) {
	a, b := authority(t, clusterA), authority(t, clusterB)
	dir := t.TempDir()
	leaf := enrol(t, a, dir, node1, Node, now)
	require.NoError(t, Save(dir, leaf, a.Certificate()))
	before, err := os.ReadFile(filepath.Join(dir, certificateFile))
	require.NoError(t, err)
	i, err := Load(dir)
	require.NoError(t, err)

	for want, pair := range map[string][2][]byte{
		"not for the key of this node": {enrol(t, a, t.TempDir(), node1, Node, now), a.Certificate()},
		"trusts a root of cluster":     {leaf, b.Certificate()},
		"not signed by one of":         {leaf, authority(t, clusterA).Certificate()},
		"and its root":                 {leaf, nil},
		"is one of an authority":       {a.Certificate(), leaf},
		"no root of a cluster":         {leaf, leaf},
		"consist of certificates":      {leaf, []byte("hello")},
		"too many":                     {leaf, slices.Concat(a.Certificate(), a.Certificate(), a.Certificate(), a.Certificate(), a.Certificate())},
	} {
		require.ErrorContains(t, Save(dir, pair[0], pair[1]), want)
		require.ErrorContains(t, i.Replace(pair[0], pair[1]), want)
	}
	require.ErrorContains(t, i.Replace(enrol(t, a, dir, node2, Node, now), a.Certificate()), "this is node "+node1, "a renewal does not change who a node is")
	require.ErrorContains(t, i.Replace(enrol(t, b, dir, node1, Node, now), b.Certificate()), "this is node "+node1+" in cluster "+clusterA)
	after, err := os.ReadFile(filepath.Join(dir, certificateFile))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestDamagedFilesSayWhatToDo(t *testing.T) {
	a := authority(t, clusterA)
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		"key lost":                {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, keyFile))) }, "missing"},
		"key empty":               {func(t *testing.T, dir string) { put(t, dir, keyFile, nil) }, "no private key"},
		"key of another node":     {func(t *testing.T, dir string) { swapKey(t, dir) }, "not for the key of this node"},
		"certificate empty":       {func(t *testing.T, dir string) { put(t, dir, certificateFile, nil) }, "does not hold a certificate"},
		"certificate overwritten": {func(t *testing.T, dir string) { put(t, dir, certificateFile, make([]byte, 900)) }, "consist of certificates"},
		"certificate endless":     {func(t *testing.T, dir string) { put(t, dir, certificateFile, make([]byte, maxFile+1)) }, "too large"},
		"certificate a folder": {func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, certificateFile)))
			require.NoError(t, os.Mkdir(filepath.Join(dir, certificateFile), 0o700))
		}, "not a file"},
		"key open to others": {func(t *testing.T, dir string) { require.NoError(t, os.Chmod(filepath.Join(dir, keyFile), 0o644)) }, "mode 644"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, Save(dir, enrol(t, a, dir, node1, Node, now), a.Certificate()))
			c.damage(t, dir)
			_, err := Load(dir)
			require.ErrorContains(t, err, c.want)
			var e *picloud.Error
			require.ErrorAs(t, err, &e)
			require.NotEmpty(t, e.Hint)
		})
	}
}

func put(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
}

func swapKey(t *testing.T, dir string) {
	t.Helper()
	other := t.TempDir()
	_, err := MakeOrLoadKey(other)
	require.NoError(t, err)
	raw, err := os.ReadFile(filepath.Join(other, keyFile))
	require.NoError(t, err)
	put(t, dir, keyFile, raw)
}

// TestPowerCut writes down what Save and MakeOrLoadKey write, and then lets the
// power fail behind each byte and each step of it: a node has either its old
// identity or its new one, and never half of each.
func TestPowerCut(t *testing.T) {
	type write struct {
		name string
		data []byte
	}
	record := func(work func()) (writes []write) {
		writeFile = func(path string, data []byte) error {
			writes = append(writes, write{filepath.Base(path), data})
			return datadir.WriteFile(path, data)
		}
		defer func() { writeFile = datadir.WriteFile }()
		work()
		return writes
	}
	a := authority(t, clusterA)
	renewed := authority(t, clusterA)
	dir := t.TempDir()
	var first, second []write
	first = record(func() { require.NoError(t, Save(dir, enrol(t, a, dir, node1, Node, now), a.Certificate())) })
	i, err := Load(dir)
	require.NoError(t, err)
	oldSerial := i.Peer().Serial
	second = record(func() { // the certificate and the root change at once
		roots := slices.Concat(renewed.Certificate(), a.Certificate())
		require.NoError(t, i.Replace(enrol(t, renewed, dir, node1, Manager, now), roots))
	})
	newSerial := i.Peer().Serial
	require.NotEqual(t, oldSerial, newSerial)

	disk := t.TempDir()
	replay := func(writes []write, check func(done int)) {
		for done, w := range writes {
			temporary := filepath.Join(disk, "."+w.name+".tmp-1")
			for cut := 0; cut <= len(w.data); cut++ {
				require.NoError(t, os.WriteFile(temporary, w.data[:cut], 0o600))
				check(done)
			}
			require.NoError(t, os.Rename(temporary, filepath.Join(disk, w.name)))
			check(done + 1)
		}
	}
	replay(first, func(done int) {
		i, err := Load(disk)
		if done < len(first) {
			require.ErrorIs(t, err, fs.ErrNotExist, "not joined yet: the same command line joins again")
			return
		}
		require.NoError(t, err)
		require.Equal(t, oldSerial, i.Peer().Serial)
	})
	replay(second, func(done int) {
		i, err := Load(disk)
		require.NoError(t, err)
		require.Equal(t, map[bool]string{true: newSerial, false: oldSerial}[done == len(second)], i.Peer().Serial)
	})
	require.Len(t, first, 2, "the key, then the pair")
	require.Len(t, second, 1, "the pair alone")
}

// A file system that loses what was synced can leave any beginning of the file.
func TestATornFileIsNeverHalfAnIdentity(t *testing.T) {
	a := authority(t, clusterA)
	dir := t.TempDir()
	require.NoError(t, Save(dir, enrol(t, a, dir, node1, Node, now), a.Certificate()))
	whole, err := os.ReadFile(filepath.Join(dir, certificateFile))
	require.NoError(t, err)
	for cut := range len(whole) - 1 { // the last byte is a line break
		put(t, dir, certificateFile, whole[:cut])
		_, err := Load(dir)
		require.ErrorContains(t, err, certificateFile, cut)
	}
}

func TestReplaceWhileInUse(t *testing.T) {
	a := authority(t, clusterA)
	dir := t.TempDir()
	require.NoError(t, Save(dir, enrol(t, a, dir, node1, Node, now), a.Certificate()))
	i, err := Load(dir)
	require.NoError(t, err)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := i.Verify([]*x509.Certificate{i.Certificate().Leaf}, x509.ExtKeyUsageServerAuth, now); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 20 {
		at := now.Add(time.Duration(n) * 24 * time.Hour)
		require.NoError(t, i.Replace(enrol(t, a, dir, node1, Manager, at), a.Certificate()))
		require.Equal(t, at.Add(nodeLife), i.Expires())
	}
	close(stop)
	readers.Wait()
	again, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, i.Peer(), again.Peer())
}

func FuzzPair(f *testing.F) {
	a := authority(f, clusterA)
	dir := f.TempDir()
	leaf := enrol(f, a, dir, node1, Node, now)
	key, err := MakeOrLoadKey(dir)
	require.NoError(f, err)
	f.Add(slices.Concat(leaf, a.Certificate()))
	f.Add(leaf)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := decodePair(raw, key)
		if err == nil {
			require.Equal(t, certificate(t, leaf).RawTBSCertificate, p.leaf.RawTBSCertificate)
		}
	})
}
