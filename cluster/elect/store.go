package elect

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"github.com/picloud/picloud/internal/datadir"
)

// segmentSize is how much of the disk the log takes, in bytes: an entry is written when
// the leader or the members change.
const segmentSize = 1 << 20

// disk is where Raft keeps its log, its term and its vote.
type disk interface {
	raft.LogStore
	raft.StableStore
	io.Closer
	// Probe writes something to the disk, and returns when it is there.
	Probe() error
}

// folder is the disk of a node.
type folder struct {
	*wal.WAL
	meta  *metadb.BoltMetaDB // WAL.Close leaves it open, and so its lock
	probe *os.File
}

func openFolder(dir string) (disk, error) {
	// With the folder of the snapshots: the log is cut off behind one, and must not outlive it.
	if err := datadir.MakeDir(filepath.Join(dir, "snapshots")); err != nil {
		return nil, err
	}
	meta := &metadb.BoltMetaDB{}
	log, err := recovered(func() (*wal.WAL, error) {
		return wal.Open(dir, wal.WithSegmentSize(segmentSize), wal.WithLogger(silent), wal.WithMetaStore(meta))
	})
	if err != nil {
		_ = meta.Close() // the error of opening says more
		return nil, err
	}
	probe, err := os.OpenFile(filepath.Join(dir, "probe"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(err, log.Close(), meta.Close())
	}
	return folder{log, meta, probe}, nil
}

// Probe implements disk.
func (f folder) Probe() error {
	if _, err := f.probe.WriteAt([]byte{1}, 0); err != nil {
		return err
	}
	return f.probe.Sync()
}

// Close implements disk.
func (f folder) Close() error { return errors.Join(f.WAL.Close(), f.meta.Close(), f.probe.Close()) }

// store is a disk whose operations have a deadline. One goroutine performs them, because a
// write to a hung disk never returns. After the first failure the store is broken: all
// further operations fail at once, so that Raft does not go on with a disk whose state
// is in doubt. The owner then gives up the Raft and opens the folder anew.
//
// Raft panics in a goroutine of its own when it cannot write its term, and when it cannot
// read an entry that was committed; a panic there would end the process, which serves
// functions. Where it would, the store ends that goroutine instead (runtime.Goexit).
type store struct {
	limit time.Duration
	ops   chan func(disk)
	quit  chan struct{}
	gone  chan struct{} // closed when the disk is closed: until then nobody may open it again

	once   sync.Once
	broken chan struct{}
	cause  error // set before broken is closed
}

var errBroken = errors.New("the store of the election is broken")

// openStore opens the disk within limit.
func openStore(open func() (disk, error), limit time.Duration) (*store, error) {
	s := &store{limit: limit, ops: make(chan func(disk)), quit: make(chan struct{}), gone: make(chan struct{}), broken: make(chan struct{})}
	opened := make(chan error, 1)
	go s.work(open, opened)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-opened:
		if err != nil {
			<-s.gone
		}
		return s, err
	case <-timer.C:
		close(s.quit)
		return s, fmt.Errorf("open the store of the election: %w", errTime)
	}
}

// work performs the operations until quit.
func (s *store) work(open func() (disk, error), opened chan<- error) {
	defer close(s.gone)
	d, err := recovered(open)
	opened <- err
	if err != nil {
		return
	}
	defer d.Close() // what matters was synced
	for {
		select {
		case op := <-s.ops:
			op(d)
		case <-s.quit:
			return
		}
	}
}

// recovered turns a panic into an error: a damaged file is no reason to end the process.
func recovered[T any](work func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return work()
}

// trouble returns why the store is broken, or nil.
func (s *store) trouble() error {
	select {
	case <-s.broken:
		return fmt.Errorf("%w: %w", errBroken, s.cause)
	default:
		return nil
	}
}

// ended reports whether the store was told to close.
func (s *store) ended() bool {
	select {
	case <-s.quit:
		return true
	case <-s.gone:
		return true
	default:
		return false
	}
}

// close lets the disk go. It waits for it at most for the store's limit.
func (s *store) close() {
	close(s.quit)
	timer := time.NewTimer(s.limit)
	defer timer.Stop()
	select {
	case <-s.gone:
	case <-timer.C:
	}
}

// fail breaks the store.
func (s *store) fail(err error) error {
	s.once.Do(func() {
		s.cause = err
		close(s.broken)
	})
	return fmt.Errorf("%w: %w", errBroken, s.cause)
}

// do performs one operation. Its result belongs to the caller only when err is nil:
// an operation that was given up may still write to it.
func do[T any](s *store, op func(disk) (T, error)) (T, error) {
	var zero T
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	run := func(d disk) {
		v, err := recovered(func() (T, error) { return op(d) })
		done <- result{v, err}
	}
	timer := time.NewTimer(s.limit)
	defer timer.Stop()
	if err := s.trouble(); err != nil {
		return zero, err
	}
	select {
	case s.ops <- run:
	case <-s.broken:
		return zero, s.trouble()
	case <-s.gone:
		return zero, s.fail(os.ErrClosed)
	case <-timer.C:
		return zero, s.fail(errTime)
	}
	select {
	case r := <-done:
		if r.err != nil && !absent(r.err) {
			return zero, s.fail(r.err)
		}
		return r.value, r.err
	case <-timer.C:
		return zero, s.fail(errTime)
	}
}

// absent reports whether err is an answer, not a failure. Raft knows the texts.
func absent(err error) bool {
	return errors.Is(err, raft.ErrLogNotFound) || err.Error() == "not found"
}

func try(s *store, op func(disk) error) error {
	_, err := do(s, func(d disk) (struct{}, error) { return struct{}{}, op(d) })
	return err
}

// FirstIndex implements raft.LogStore.
func (s *store) FirstIndex() (uint64, error) { return do(s, disk.FirstIndex) }

// LastIndex implements raft.LogStore.
func (s *store) LastIndex() (uint64, error) { return do(s, disk.LastIndex) }

// GetLog implements raft.LogStore.
func (s *store) GetLog(index uint64, log *raft.Log) error {
	got, err := do(s, func(d disk) (raft.Log, error) {
		var own raft.Log
		err := d.GetLog(index, &own)
		return own, err
	})
	switch {
	case err == nil:
		*log = got
	case errors.Is(err, raft.ErrLogNotFound):
		if calledBy("(*Raft).processLogs") { // it was committed: the log has a hole
			s.fail(fmt.Errorf("%w: entry %d is missing", errDamaged, index)) //nolint:errcheck // it is the owner's to read
			runtime.Goexit()
		}
	case calledBy("(*Raft).processLogs"):
		runtime.Goexit()
	}
	return err
}

// StoreLog implements raft.LogStore.
func (s *store) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (s *store) StoreLogs(logs []*raft.Log) error {
	return try(s, func(d disk) error { return d.StoreLogs(logs) })
}

// DeleteRange implements raft.LogStore.
func (s *store) DeleteRange(first, last uint64) error {
	return try(s, func(d disk) error { return d.DeleteRange(first, last) })
}

// IsMonotonic implements raft.MonotonicLogStore: the log has no holes, so that Raft
// removes all of it after it took over a snapshot.
func (s *store) IsMonotonic() bool { return true }

// Set implements raft.StableStore.
func (s *store) Set(key, value []byte) error {
	return try(s, func(d disk) error { return d.Set(key, value) })
}

// Get implements raft.StableStore.
func (s *store) Get(key []byte) ([]byte, error) {
	return do(s, func(d disk) ([]byte, error) { return d.Get(key) })
}

// SetUint64 implements raft.StableStore.
func (s *store) SetUint64(key []byte, value uint64) error {
	err := try(s, func(d disk) error { return d.SetUint64(key, value) })
	if err != nil && calledBy("(*Raft).setCurrentTerm") {
		runtime.Goexit()
	}
	return err
}

// GetUint64 implements raft.StableStore.
func (s *store) GetUint64(key []byte) (uint64, error) {
	return do(s, func(d disk) (uint64, error) { return d.GetUint64(key) })
}

// probe finds out whether the disk still writes.
func (s *store) probe() error { return try(s, disk.Probe) }

// calledBy reports whether a function of Raft called the store. Only failures ask.
func calledBy(function string) bool {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "hashicorp/raft."+function) {
			return true
		}
		if !more {
			return false
		}
	}
}
