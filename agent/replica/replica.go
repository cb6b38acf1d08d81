// Package replica is the node's copy of the catalog: what it serves, the same on
// disk, and how both follow the database. It makes nothing of the catalog; the
// hall does, in one call for each change.
package replica

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
)

// Replica is the node's copy of the catalog. It applies changes one after the
// other. It is copy-on-write: reading is one atomic load.
type Replica struct {
	dir   string
	log   *slog.Logger
	serve func(Change)

	metrics  *metrics
	state    atomic.Pointer[State] // nil until something was loaded
	durable  atomic.Int64          // the newest revision that is on disk too
	verified atomic.Int64          // unix nanoseconds of the last comparison with the database; 0: never

	mu      sync.Mutex
	disk    *disk
	rewrite bool          // the copy on disk is damaged: write every source again
	changed chan struct{} // closed and replaced whenever durable grows
}

// New returns an empty replica whose copy is below dataDir. Serve is called for
// each change, from one goroutine at a time, and must make callers see the new
// state before it returns.
func New(dataDir string, serve func(Change), log *slog.Logger) *Replica {
	r := &Replica{dir: dataDir, log: log, serve: serve, changed: make(chan struct{})}
	r.metrics = newMetrics(r.age)
	return r
}

// Boot serves what the copy on disk holds, and keeps the copy current from then
// on. It does so without the database. An error means that the folder of the copy cannot
// be made.
func (r *Replica) Boot() error {
	disk, err := openDisk(r.dir, r.log)
	if err != nil {
		return err
	}
	m, sources, damaged := disk.load()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disk = disk
	r.rewrite = damaged > 0
	if m == nil {
		return nil
	}
	s := stateOf(m, sources, damaged > 0)
	r.swap(Change{New: s})
	r.saved(s.Rev)
	return nil
}

// State returns what the node serves; nil: nothing yet.
func (r *Replica) State() *State { return r.state.Load() }

// Durable is the newest revision that the node serves and has on disk. Only this
// revision may be acknowledged: the node serves it after a power cut too.
func (r *Replica) Durable() int64 { return r.durable.Load() }

// Behind reports whether the node serves what it does not have on disk.
func (r *Replica) Behind() bool {
	s := r.state.Load()
	return s != nil && s.Rev != r.durable.Load()
}

// have returns what the node holds, to ask the database for what came after.
func (r *Replica) have() (incarnation string, rev int64) {
	s := r.state.Load()
	if s == nil {
		return "", 0
	}
	return s.Incarnation, s.Rev
}

// missing lists the sources that a delta names and the node needs to fetch. A
// damaged copy on disk needs all of them again.
func (r *Replica) missing(d picloud.Delta) []picloud.Digest {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rewrite {
		return (*State)(nil).missing(d)
	}
	return r.state.Load().missing(d)
}

// apply serves the state that a delta leads to, and then makes it durable. An
// error means that the copy on disk is behind; the node serves the new state all
// the same, and does not acknowledge it.
func (r *Replica) apply(d picloud.Delta, fetched map[picloud.Digest][]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.state.Load()
	next, err := old.after(d, fetched)
	if err != nil {
		return err
	}
	r.swap(Change{Old: old, New: next, Ended: old.ended(d, next)})
	fresh := fetched
	if r.rewrite {
		fresh = next.Sources
	}
	if err := r.disk.save(next.manifest(), fresh); err != nil {
		r.rewrite = true
		return fmt.Errorf("save catalog revision %d: %w", d.Rev, err)
	}
	r.rewrite = false
	r.saved(next.Rev)
	return nil
}

// repair writes the copy on disk again if the last attempt failed: without it
// the copy would stay behind until the next deploy.
func (r *Replica) repair() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state.Load()
	if !r.rewrite || s == nil {
		return nil
	}
	if err := r.disk.save(s.manifest(), s.Sources); err != nil {
		return fmt.Errorf("save catalog revision %d again: %w", s.Rev, err)
	}
	r.rewrite = false
	r.saved(s.Rev)
	return nil
}

// swap makes a state the one that is served. The caller holds mu.
func (r *Replica) swap(c Change) {
	r.state.Store(c.New)
	r.serve(c)
	r.metrics.revision.Set(float64(c.New.Rev))
	r.metrics.functions.Set(float64(len(c.New.Routes)))
}

// saved notes that a revision is on disk, and wakes those who wait for it. The
// caller holds mu.
func (r *Replica) saved(rev int64) {
	r.durable.Store(rev)
	close(r.changed)
	r.changed = make(chan struct{})
}

// watch returns the revision that is durable and a channel that is closed when
// it changes.
func (r *Replica) watch() (rev int64, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.durable.Load(), r.changed
}

// compared notes that the state was just found equal to the database.
func (r *Replica) compared() { r.verified.Store(time.Now().UnixNano()) }

// age is the time since the last comparison in seconds, -1 if there was none.
func (r *Replica) age() float64 {
	at := r.verified.Load()
	if at == 0 {
		return -1
	}
	return time.Since(time.Unix(0, at)).Seconds()
}
