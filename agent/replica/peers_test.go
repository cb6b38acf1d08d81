package replica

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// sign is the signature of these tests.
func sign(catalog []byte) (certificate, signature []byte, ok bool) {
	sum := sha512.Sum512(catalog)
	return []byte("pi-1"), sum[:], true
}

// unable is a node that may not sign.
func unable([]byte) (certificate, signature []byte, ok bool) { return nil, nil, false }

// neighbours are other nodes by name; each answers as it likes.
type neighbours struct {
	order   []string
	copies  map[string]func() io.Reader
	objects map[string]func(digests []picloud.Digest) io.Reader
	asked   int
}

func (n *neighbours) Newer(int64) []string { return n.order }

func (n *neighbours) Copy(ctx context.Context, node string) (io.ReadCloser, error) {
	n.asked++
	if n.copies[node] == nil {
		return nil, errors.New("no answer")
	}
	return io.NopCloser(until{ctx, n.copies[node]()}), nil
}

func (n *neighbours) Objects(ctx context.Context, node string, digests []picloud.Digest) (io.ReadCloser, error) {
	return io.NopCloser(until{ctx, n.objects[node](digests)}), nil
}

func (n *neighbours) Verify(c *Copy) error {
	_, want, _ := sign(c.Catalog)
	if !bytes.Equal(want, c.Signature) {
		return errors.New("bad signature")
	}
	return nil
}

// until reads until ctx ends, as the body of an answer does.
type until struct {
	ctx context.Context
	io.Reader
}

func (u until) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(p)
}

// add makes a node that hands over what a replica has.
func (n *neighbours) add(name string, r *Replica, may Signer) {
	n.order = append(n.order, name)
	n.copies[name] = func() io.Reader {
		raw, err := r.Hand(may)
		if err != nil {
			return strings.NewReader("")
		}
		return bytes.NewReader(raw)
	}
	n.objects[name] = func(digests []picloud.Digest) io.Reader {
		var b bytes.Buffer
		if err := r.WriteObjects(&b, digests); err != nil {
			return strings.NewReader("")
		}
		return &b
	}
}

func newNeighbours() *neighbours {
	return &neighbours{copies: map[string]func() io.Reader{}, objects: map[string]func([]picloud.Digest) io.Reader{}}
}

// at returns a replica with functions of the given sources, and an app with a sealed secret.
func at(t testing.TB, dir string, rev int64, sources ...string) *Replica {
	t.Helper()
	r, _ := newTestReplica(t, dir)
	m, objects := catalogOf(rev, sources...)
	require.NoError(t, r.apply(picloud.Delta{
		Incarnation: m.Incarnation, Rev: rev, Full: true, Routes: m.Routes,
		Apps: []picloud.AppConfig{{App: "app", Key: []byte{1}, Secrets: map[string][]byte{"TOKEN": {7, 7}}, Rev: 1}},
	}, objects))
	t.Cleanup(r.Close)
	return r
}

// TestANewerCatalogOfAnotherNodeIsTaken, with the sources that are missing, on disk, and
// passed on by a node that cannot sign it.
func TestANewerCatalogOfAnotherNodeIsTaken(t *testing.T) {
	ahead := at(t, t.TempDir(), 9, "one", "two", "three")
	dir := t.TempDir()
	old := at(t, dir, 4, "one")
	old.state.Load().Limits = picloud.Limits{HostCalls: 3}
	peers := newNeighbours()
	peers.order = []string{"silent"}
	peers.add("pi-1", ahead, sign)
	took, _ := old.CatchUp(t.Context(), peers)
	require.True(t, took)
	want := *ahead.State()
	want.Limits = picloud.Limits{HostCalls: 3}
	require.Equal(t, &want, old.State(), "all but what is the node's own")
	require.Equal(t, int64(9), old.Durable())

	again, _ := newTestReplica(t, dir)
	t.Cleanup(again.Close)
	require.Equal(t, old.State(), again.State(), "it survives a power cut")
	third := at(t, t.TempDir(), 4, "one")
	relay := newNeighbours()
	relay.add("pi-2", again, unable)
	took, _ = third.CatchUp(t.Context(), relay)
	require.True(t, took, "the signature survives it too")
	require.Equal(t, int64(9), third.State().Rev)

	// What the database brings continues it, and nobody hands over what is no longer served.
	require.NoError(t, again.apply(picloud.Delta{Incarnation: "one", Rev: 10}, nil))
	_, err := again.Hand(unable)
	require.ErrorIs(t, err, ErrNoCopy)
}

// TestANodeWithoutACatalogTakesOne, and one whose copy is damaged takes the same revision.
func TestANodeWithoutACatalogTakesOne(t *testing.T) {
	peers := newNeighbours()
	peers.add("pi-1", at(t, t.TempDir(), 9, "one", "two"), sign)
	fresh, _ := newTestReplica(t, t.TempDir())
	t.Cleanup(fresh.Close)
	took, _ := fresh.CatchUp(t.Context(), peers)
	require.True(t, took)

	dir := t.TempDir()
	at(t, dir, 9, "one", "two").Close()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "catalog", "objects", picloud.DigestOf([]byte("two")).String()), []byte("tw0"), 0o600))
	hurt, _ := newTestReplica(t, dir)
	t.Cleanup(hurt.Close)
	require.Len(t, hurt.State().Routes, 1)
	took, _ = hurt.CatchUp(t.Context(), peers)
	require.True(t, took)
	require.Equal(t, fresh.State(), hurt.State())
	whole, _ := newTestReplica(t, dir)
	t.Cleanup(whole.Close)
	require.False(t, whole.State().Damaged)
	require.Len(t, whole.State().Routes, 2)
}

// TestANodeThatLiesHarmsNothing: whatever it sends, nothing changes, the log names it once,
// and the next node is asked.
func TestANodeThatLiesHarmsNothing(t *testing.T) {
	good := at(t, t.TempDir(), 9, "one", "two")
	whole, err := good.Hand(sign)
	require.NoError(t, err)
	older, err := at(t, t.TempDir(), 3, "one").Hand(sign)
	require.NoError(t, err)
	same, err := at(t, t.TempDir(), 4, "one").Hand(sign)
	require.NoError(t, err)
	other := at(t, t.TempDir(), 9, "one")
	other.state.Load().Incarnation = "another"
	foreign, err := other.Hand(sign)
	require.NoError(t, err)
	forged := bytes.Replace(whole, []byte(`"rev":9`), []byte(`"rev":8`), 1)
	honest := func(digests []picloud.Digest) io.Reader {
		var b bytes.Buffer
		require.NoError(t, good.WriteObjects(&b, digests))
		return &b
	}
	catalog := func(text string) []byte {
		certificate, signature, _ := sign([]byte(text))
		return (&Copy{Certificate: certificate, Signature: signature, Catalog: []byte(text)}).encode()
	}
	endless := func() io.Reader {
		head := whole[:len(copyMagic)+2+4+signatureSize]
		return io.MultiReader(bytes.NewReader(head), bytes.NewReader(binary.BigEndian.AppendUint32(nil, maxCatalog)), zeros{})
	}
	for name, c := range map[string]struct {
		copy    func() io.Reader
		objects func([]picloud.Digest) io.Reader
		says    string
	}{
		"a wrong signature":       {sends(forged), honest, "bad signature"},
		"an old revision":         {sends(older), honest, "has revision 3, and this node's 4"},
		"the same revision":       {sends(same), honest, "has revision 4, and this node's 4"},
		"another incarnation":     {sends(foreign), honest, "only the database can say"},
		"nothing":                 {sends(nil), honest, "EOF"},
		"half of it":              {sends(whole[:len(whole)/2]), honest, "EOF"},
		"an endless body":         {endless, honest, "bad signature"},
		"a length beyond bounds":  {sends(append(bytes.Clone(whole[:len(copyMagic)+2+4+signatureSize]), 255, 255, 255, 255)), honest, "more than"},
		"garbage":                 {sends([]byte("HTTP/1.1 200 OK\r\n\r\n")), honest, "begins in another way"},
		"no JSON":                 {sends(catalog("{")), honest, "read copy"},
		"no catalog":              {sends(catalog("{}")), honest, "not one of a cluster"},
		"a path for a name":       {sends(catalog(`{"incarnation":"one","rev":9,"routes":[{"app":"../x","function":"f"}]}`)), honest, "no function"},
		"a function from later":   {sends(catalog(`{"incarnation":"one","rev":9,"routes":[{"app":"x","function":"f","rev":10}]}`)), honest, "no function"},
		"no objects":              {sends(whole), func([]picloud.Digest) io.Reader { return strings.NewReader("") }, "EOF"},
		"an object that is not":   {sends(whole), func([]picloud.Digest) io.Reader { return bytes.NewReader([]byte{255, 255, 255, 255}) }, "does not have source"},
		"an object of another":    {sends(whole), func([]picloud.Digest) io.Reader { return bytes.NewReader([]byte{0, 0, 0, 3, 'b', 'a', 'd'}) }, "another one"},
		"an object out of bounds": {sends(whole), func([]picloud.Digest) io.Reader { return zerosAfter(0, 1, 0, 1) }, "more than a script has"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			dir := t.TempDir()
			r := at(t, dir, 4, "one")
			r.log = slog.New(slog.NewTextHandler(&log, nil))
			before := r.State()
			peers := newNeighbours()
			peers.order, peers.copies["liar"], peers.objects["liar"] = []string{"liar"}, c.copy, c.objects
			for range 3 {
				took, again := r.CatchUp(t.Context(), peers)
				require.False(t, took)
				require.True(t, again, "it may mend itself")
			}
			require.Same(t, before, r.State())
			require.Equal(t, 1, strings.Count(log.String(), "liar"), log.String())
			require.Contains(t, log.String(), c.says)
			same, _ := newTestReplica(t, dir)
			t.Cleanup(same.Close)
			require.Equal(t, before, same.State())

			peers.add("pi-1", good, sign)
			took, _ := r.CatchUp(t.Context(), peers)
			require.True(t, took)
			require.Equal(t, good.State(), r.State())
		})
	}
}

// TestNodesThatLieDoNotKeepOthersFromBeingAsked, however many there are.
func TestNodesThatLieDoNotKeepOthersFromBeingAsked(t *testing.T) {
	r := at(t, t.TempDir(), 4, "one")
	peers := newNeighbours()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		peers.order, peers.copies[name] = append(peers.order, name), sends([]byte("no"))
	}
	good := at(t, t.TempDir(), 9, "one", "two")
	peers.add("f", good, sign)
	took, _ := r.CatchUp(t.Context(), peers)
	require.False(t, took)
	require.Equal(t, maxPeers, peers.asked)
	took, _ = r.CatchUp(t.Context(), peers)
	require.True(t, took)
}

// TestAChangeOfTheDatabaseWinsOverOneOfANode: what was computed from another state is not
// applied.
func TestAChangeOfTheDatabaseWinsOverOneOfANode(t *testing.T) {
	r := at(t, t.TempDir(), 4, "one")
	peers := newNeighbours()
	ahead := at(t, t.TempDir(), 9, "one", "two")
	peers.add("pi-1", ahead, sign)
	honest := peers.objects["pi-1"]
	peers.objects["pi-1"] = func(digests []picloud.Digest) io.Reader {
		m, objects := catalogOf(12, "one", "three")
		require.NoError(t, r.apply(picloud.Delta{Incarnation: "one", Rev: 12, Full: true, Routes: m.Routes}, objects))
		return honest(digests)
	}
	took, again := r.CatchUp(t.Context(), peers)
	require.False(t, took)
	require.True(t, again)
	require.Equal(t, int64(12), r.State().Rev)
	require.Equal(t, int64(12), r.Durable())
}

// TestADeltaOfTheDatabaseIsFetchedAgainAfterANodesCopy.
func TestADeltaOfTheDatabaseIsFetchedAgainAfterANodesCopy(t *testing.T) {
	s, r, store := newSyncer(t, t.TempDir())
	t.Cleanup(r.Close)
	require.NoError(t, s.pull(t.Context()))
	base := r.State()
	require.NoError(t, r.apply(picloud.Delta{Incarnation: "one", Rev: 9}, nil))
	require.ErrorIs(t, r.applyTo(base, picloud.Delta{Incarnation: "one", Rev: 8}, nil), errMoved)
	require.Equal(t, int64(9), r.State().Rev)
	store.delta.Rev = 11
	require.NoError(t, s.pull(t.Context()))
	require.Equal(t, int64(11), r.State().Rev)
	require.Less(t, r.Age(), time.Minute)
}

// sends answers with some bytes.
func sends(raw []byte) func() io.Reader { return func() io.Reader { return bytes.NewReader(raw) } }

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func zerosAfter(head ...byte) io.Reader { return io.MultiReader(bytes.NewReader(head), zeros{}) }

// FuzzCopy reads what strangers send: no more than they sent is kept, and what was read is
// written as it was.
func FuzzCopy(f *testing.F) {
	good := at(f, f.TempDir(), 9, "one", "two")
	raw, err := good.Hand(sign)
	require.NoError(f, err)
	f.Add(raw)
	f.Add(raw[:40])
	f.Add([]byte(copyMagic + "\xff\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := readCopy(bytes.NewReader(raw))
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(c.encode()), len(raw))
		require.True(t, bytes.HasPrefix(raw, c.encode()))
		h, err := c.open()
		if err != nil {
			return
		}
		_, err = json.Marshal(h)
		require.NoError(t, err)
	})
}

// FuzzObjects does the same with sources: whatever is found is what was asked for.
func FuzzObjects(f *testing.F) {
	digests := []picloud.Digest{picloud.DigestOf([]byte("one")), picloud.DigestOf([]byte("two"))}
	f.Add([]byte{0, 0, 0, 3, 'o', 'n', 'e', 0, 0, 0, 3, 't', 'w', 'o'})
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 3, 't', 'w', 'o'})
	f.Add([]byte{0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		found := map[picloud.Digest][]byte{}
		if err := readObjects(bytes.NewReader(raw), digests, found); err == nil {
			require.GreaterOrEqual(t, len(raw), 4*len(digests), "each has a size")
		}
		for d, source := range found {
			require.Equal(t, d, picloud.DigestOf(source))
			require.Contains(t, digests, d)
		}
	})
}
