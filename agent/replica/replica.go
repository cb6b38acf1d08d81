// Package replica is the node's copy of the catalog: what it serves, the same on
// disk, and how both follow the database. It makes nothing of the catalog; the
// hall does, in one call for each change.
package replica

import (
	"fmt"
	"log/slog"
	"path/filepath"
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

	told    func() // see OnDurable
	metrics *metrics
	state   atomic.Pointer[State] // nil until something was loaded
	durable atomic.Int64          // the newest revision that is on disk too
	age     age                   // since the last comparison with the database

	mu      sync.Mutex
	disk    *disk
	rewrite bool            // the copy on disk is damaged: write every source again
	liars   map[string]bool // nodes whose copy was not taken, and that the log has named
	changed chan struct{}   // closed and replaced whenever durable grows
}

// New returns an empty replica whose copy is below dataDir. Serve is called for
// each change, from one goroutine at a time, and must make callers see the new
// state before it returns.
func New(dataDir string, serve func(Change), log *slog.Logger) *Replica {
	r := &Replica{dir: dataDir, log: log, serve: serve, told: func() {}, changed: make(chan struct{}), liars: map[string]bool{}}
	r.age.told, r.age.wall = func(time.Time) {}, time.Now
	r.metrics = newMetrics(r.seconds)
	return r
}

// OnStale sets what is called when the copy was not compared for CutOff, with the time of
// the last comparison, and with the zero time when it was compared again. While it is
// stale the call is repeated each minute. It must not block. It comes before Boot.
func (r *Replica) OnStale(told func(since time.Time)) { r.age.told = told }

// OnDurable sets what is called when a newer revision is on disk. It must not block, nor
// call the replica but for Durable. It comes before Boot.
func (r *Replica) OnDurable(told func()) { r.told = told }

// Boot serves what the copy on disk holds, and keeps the copy current from then
// on. It does so without the database. An error means that the folder of the copy cannot
// be made.
//
// Signs are files that the node writes now and then while it runs. After a power cut they
// tell for how long it was certainly in touch with the database.
func (r *Replica) Boot(signs ...string) error {
	disk, err := openDisk(r.dir, r.log)
	if err != nil {
		return err
	}
	m, sources, damaged := disk.load()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disk = disk
	r.rewrite = damaged > 0
	r.age.open(disk.dir, append(signs, filepath.Join(disk.dir, manifestFile)), r.log)
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

// have returns what the node holds, to ask the database for what came after. Of a damaged
// copy that is nothing: the node needs the whole catalog.
func (r *Replica) have() (incarnation string, rev int64) {
	s := r.state.Load()
	if s == nil || s.Damaged {
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

// applyTo serves the state that a delta of another one leads to, and then makes it durable.
// It fails with errMoved, and changes nothing, if that other one is no longer the present state:
// the database and other nodes can bring changes at the same time. Any other error means that the
// copy on disk is behind; the node serves the new state all the same, and does not acknowledge it.
func (r *Replica) applyTo(old *State, d picloud.Delta, fetched map[picloud.Digest][]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Load() != old {
		return errMoved
	}
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
	r.told()
}

// watch returns the revision that is durable and a channel that is closed when
// it changes.
func (r *Replica) watch() (rev int64, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.durable.Load(), r.changed
}

// Age is the time since the copy was last compared with the database, in this process or
// in one before.
func (r *Replica) Age() time.Duration { return r.age.of() }

// Stale reports whether the copy was not compared for CutOff, and thus may be old.
func (r *Replica) Stale() bool { return r.State() != nil && r.Age() >= CutOff }

// seconds is the age for the metric; -1: there is no copy.
func (r *Replica) seconds() float64 {
	if r.State() == nil {
		return -1
	}
	return r.Age().Seconds()
}

// Close ends the measuring of the copy's age. The copy is served on.
func (r *Replica) Close() { r.age.close() }
