package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
)

const (
	// catchUpTime bounds one attempt to take a newer copy from other nodes, and askTime one
	// question in it.
	catchUpTime = time.Minute
	askTime     = 20 * time.Second
	// maxPeers is how many nodes are asked in one attempt.
	maxPeers = 4
	// maxLiars bounds how many nodes with a bad copy are remembered.
	maxLiars = 64
	// handedFile is the copy that another node handed over, for as long as it is served.
	handedFile = "handed"
)

// Peers are the other nodes. What they say is believed where a signature or a digest
// proves it.
type Peers interface {
	// Newer lists nodes that say they have a later revision than rev, the best first.
	Newer(rev int64) []string
	// Copy asks a node for its copy.
	Copy(ctx context.Context, node string) (io.ReadCloser, error)
	// Objects asks a node for sources.
	Objects(ctx context.Context, node string, digests []picloud.Digest) (io.ReadCloser, error)
	// Verify checks that a node of this cluster which may manage signed a catalog.
	Verify(c *Copy) error
}

// Signer signs a catalog, if this node may.
type Signer func(catalog []byte) (certificate, signature []byte, ok bool)

var (
	// errMoved says that the state changed while a change to it was fetched.
	errMoved = errors.New("the catalog changed meanwhile")
	// ErrNoCopy says that a node has no copy that it can hand over, or is asked for too much of it.
	ErrNoCopy = errors.New("the node has no signed copy of what it serves")
)

// CatchUp takes a newer revision from other nodes. It is for the time that the database
// does not answer. It reports whether it took one, else whether to try again: a node says
// that it has one, and could not be believed or asked.
//
// The catalog must be signed by a node that may manage. It is never older than what this
// node has, and never one of another incarnation: only the database tells of that.
func (r *Replica) CatchUp(ctx context.Context, peers Peers) (took, again bool) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	if err := r.repair(); err != nil {
		r.log.Warn("the node serves a newer catalog than its disk has", slog.Any("error", err))
	}
	_, rev := r.known()
	fetched := map[picloud.Digest][]byte{} // also of a node that did not have all
	nodes := r.honestFirst(peers.Newer(rev))
	for _, node := range nodes[:min(len(nodes), maxPeers)] {
		got, err := r.takeFrom(ctx, peers, node, fetched)
		if err == nil {
			r.forgive()
			r.log.Info("took a newer catalog from another node, because the database is away", slog.String("node", node), slog.Int64("revision", got))
			return true, false
		}
		if errors.Is(err, errMoved) || ctx.Err() != nil {
			return false, true
		}
		if !errors.Is(err, picloud.ErrUnavailable) { // who cannot be reached tells no lies
			r.blame(node, err)
		}
	}
	return false, len(nodes) > 0
}

// blame says why a node's copy was not taken, once for each node until some node's is.
func (r *Replica) blame(node string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.liars[node] || len(r.liars) >= maxLiars {
		return
	}
	r.liars[node] = true
	r.log.Warn("a newer catalog of another node was not taken", slog.String("node", node), slog.Any("error", err))
}

// honestFirst puts the nodes that were blamed behind the others, so that they cannot keep
// those from being asked.
func (r *Replica) honestFirst(nodes []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(nodes, func(a, b string) int {
		switch {
		case r.liars[a] == r.liars[b]:
			return 0
		case r.liars[a]:
			return 1
		}
		return -1
	})
	return nodes
}

// forgive forgets who was blamed.
func (r *Replica) forgive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.liars)
}

// known is what a copy of another node must continue. A damaged copy is continued by its
// own revision, too.
func (r *Replica) known() (incarnation string, rev int64) {
	s := r.state.Load()
	switch {
	case s == nil:
		return "", 0
	case s.Damaged:
		return s.Incarnation, s.Rev - 1
	}
	return s.Incarnation, s.Rev
}

// takeFrom takes the copy of a node.
func (r *Replica) takeFrom(ctx context.Context, peers Peers, node string, fetched map[picloud.Digest][]byte) (rev int64, err error) {
	base := r.state.Load()
	incarnation, have := r.known()
	c, err := ask(ctx, func(ctx context.Context) (io.ReadCloser, error) { return peers.Copy(ctx, node) }, readCopy)
	if err != nil {
		return 0, err
	}
	if err := peers.Verify(c); err != nil {
		return 0, err
	}
	h, err := c.open()
	switch {
	case err != nil:
		return 0, err
	case incarnation != "" && h.Incarnation != incarnation:
		return 0, fmt.Errorf("its catalog is of incarnation %s, and this node's of %s: only the database can say which goes on", h.Incarnation, incarnation)
	case h.Rev <= have:
		return 0, fmt.Errorf("its catalog has revision %d, and this node's %d", h.Rev, have)
	}
	d := picloud.Delta{Incarnation: h.Incarnation, Rev: h.Rev, Full: true, Routes: h.Routes, Apps: h.Apps}
	if base != nil {
		d.Limits, d.Drained = base.Limits, base.Drained // these are the node's own
	}
	if err := r.fetch(ctx, peers, node, r.missing(d), fetched); err != nil {
		return 0, err
	}
	r.age.behind()
	if err := r.applyTo(base, d, fetched); err != nil {
		if now := r.state.Load(); now == base || errors.Is(err, errMoved) {
			return 0, err
		}
		r.log.Warn("the node serves a newer catalog than its disk has", slog.Any("error", err)) // the next attempt writes it
	}
	if err := r.keepHanded(c); err != nil {
		r.log.Info("the copy of another node is not kept for others", slog.Any("error", err))
	}
	return h.Rev, nil
}

// fetch fetches the sources that are not fetched yet.
func (r *Replica) fetch(ctx context.Context, peers Peers, node string, missing []picloud.Digest, fetched map[picloud.Digest][]byte) error {
	missing = slices.DeleteFunc(missing, func(d picloud.Digest) bool { _, have := fetched[d]; return have })
	size := 0
	for _, source := range fetched {
		size += len(source)
	}
	for part := range slices.Chunk(missing, maxObjects) {
		_, err := ask(ctx, func(ctx context.Context) (io.ReadCloser, error) { return peers.Objects(ctx, node, part) }, func(body io.Reader) (struct{}, error) {
			return struct{}{}, readObjects(body, part, fetched)
		})
		if err != nil {
			return err
		}
		for _, d := range part {
			source, found := fetched[d]
			if !found {
				return fmt.Errorf("it does not have source %s", d)
			}
			if size += len(source); size > maxFetched {
				return fmt.Errorf("its catalog has more than the %d bytes of sources that are taken at once", maxFetched)
			}
		}
	}
	return nil
}

// ask asks a node one question within its time.
func ask[T any](ctx context.Context, question func(context.Context) (io.ReadCloser, error), read func(io.Reader) (T, error)) (out T, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	body, err := question(ctx)
	if err != nil {
		return out, err
	}
	defer body.Close()
	return read(body)
}

// keepHanded keeps a copy for other nodes: this one may not be able to sign it.
func (r *Replica) keepHanded(c *Copy) error {
	return datadir.WriteFile(filepath.Join(r.disk.dir, handedFile), c.encode())
}

// dropHanded forgets that copy, when the database has brought another revision.
func (r *Replica) dropHanded() { os.Remove(filepath.Join(r.disk.dir, handedFile)) }

// Hand returns what this node serves, for another one: signed by this node if it may
// manage, or as it was handed to this one.
func (r *Replica) Hand(sign Signer) ([]byte, error) {
	s := r.state.Load()
	if s == nil || s.Damaged || s.Incarnation == "" {
		return nil, ErrNoCopy
	}
	catalog, err := s.catalog()
	if err != nil {
		return nil, err
	}
	if certificate, signature, ok := sign(catalog); ok {
		return (&Copy{Certificate: certificate, Signature: signature, Catalog: catalog}).encode(), nil
	}
	file, err := os.Open(filepath.Join(r.disk.dir, handedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoCopy
	}
	if err != nil {
		return nil, fmt.Errorf("hand over the catalog: %w", err)
	}
	defer file.Close()
	c, err := readCopy(file)
	if err != nil {
		return nil, err
	}
	if h, err := c.open(); err != nil || h.Incarnation != s.Incarnation || h.Rev != s.Rev {
		return nil, ErrNoCopy
	}
	return c.encode(), nil
}

// WriteObjects writes sources of what this node serves for another one, which asks for at
// most 64 at once.
func (r *Replica) WriteObjects(w io.Writer, digests []picloud.Digest) error {
	s := r.state.Load()
	if s == nil || len(digests) > maxObjects {
		return ErrNoCopy
	}
	return s.writeObjects(w, digests)
}
