package replica

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/picloud/picloud/internal/datadir"
)

const (
	// CutOff is the age from which a copy counts as stale: two comparisons in a row were
	// missed. A node that is in touch with the database never reaches it.
	CutOff = 2 * pollInterval
	// oldest bounds the age that a wall clock is believed to tell after a restart: a clock
	// that is ahead by decades says nothing.
	oldest = 366 * 24 * time.Hour
	// comparedFile says when the copy was last compared, for the next start.
	comparedFile = "compared.json"
)

// era is before every comparison that a node can have made: a wall clock that says less
// is wrong.
var era = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// age is the time since the copy was last compared with the database. It is measured with
// the monotonic clock while the node runs. Over a restart only wall clocks lead: the age
// then is what they say, at least the time since the start and at most oldest. It is asked
// again each minute, so that a clock that NTP has put right puts the age right.
//
// At rest it writes nothing. It writes when the node has been cut off for as long as
// CutOff, when that is over, and at a stop. After a power cut a node that was in touch
// takes the last sign of life in the data folder for its last comparison.
type age struct {
	path string
	log  *slog.Logger

	mu    sync.Mutex // guards what follows
	began time.Time  // when this process opened the copy
	last  time.Time  // the last comparison of this process; zero: none
	kept  time.Time  // by the wall clock, the last comparison of earlier processes; zero: not known
	stale bool       // told was called with a time
	cut   bool       // the file says that the node is cut off
	timer *time.Timer
	told  func(since time.Time) // what to do when the copy becomes stale, and current again
	wall  func() time.Time
}

// comparison is what comparedFile holds.
type comparison struct {
	At time.Time `json:"at"` // by the wall clock
	// Cut says that the node was cut off since. Otherwise it may have compared after At.
	Cut bool `json:"cut"`
}

// open begins to measure. Signs are files that the node writes while it is in touch.
func (a *age) open(dir string, signs []string, log *slog.Logger) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.path, a.log, a.began = filepath.Join(dir, comparedFile), log, time.Now()
	a.kept = a.lastContact(signs)
	a.look()
}

// lastContact is when an earlier process was last in touch with the database, as far as
// the data folder knows.
func (a *age) lastContact(signs []string) time.Time {
	var c comparison
	raw, err := os.ReadFile(a.path)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("when the catalog was last compared is not known", slog.Any("error", err))
		c = comparison{}
	}
	if a.cut = c.Cut; c.Cut {
		return sane(c.At)
	}
	last := sane(c.At)
	for _, path := range signs {
		if info, err := os.Stat(path); err == nil && sane(info.ModTime()).After(last) {
			last = info.ModTime()
		}
	}
	return last
}

// sane returns a time of a wall clock, or the zero time if that clock was wrong.
func sane(at time.Time) time.Time {
	if at.Before(era) {
		return time.Time{}
	}
	return at
}

// now is the age. The caller holds mu.
func (a *age) now() time.Duration {
	if !a.last.IsZero() {
		return time.Since(a.last)
	}
	if a.began.IsZero() {
		return 0
	}
	up := time.Since(a.began)
	wall := sane(a.wall().Round(0))
	if a.kept.IsZero() || wall.IsZero() {
		return up
	}
	return max(up, min(wall.Sub(a.kept), oldest))
}

// of returns the age.
func (a *age) of() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now()
}

// compared notes that the copy was just found equal to the database.
func (a *age) compared() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = time.Now()
	if a.stale {
		a.stale = false
		a.told(time.Time{})
	}
	if a.cut {
		a.write(comparison{At: a.wall()})
	}
	if a.timer != nil {
		a.timer.Reset(CutOff)
	}
}

// look finds out whether the copy has become stale, and when to look again. The caller
// holds mu.
func (a *age) look() {
	old := a.now()
	next := CutOff - old
	if old >= CutOff {
		a.stale = true
		a.told(time.Now().Add(-old))
		a.cutOff(old)
		next = pollInterval // a wall clock may have been put right
	}
	if a.timer == nil {
		a.timer = time.AfterFunc(next, a.due)
		return
	}
	a.timer.Reset(next)
}

// cutOff writes down that the node is not in touch with the database, once. The caller
// holds mu.
func (a *age) cutOff(old time.Duration) {
	if a.cut {
		return
	}
	at := a.wall().Add(-old)
	if a.last.IsZero() && !a.kept.IsZero() {
		at = a.kept // whatever the wall clock says meanwhile
	}
	a.write(comparison{At: at, Cut: true})
}

// behind notes that the copy is about to change without the database: what is written to
// disk for that is no sign of being in touch.
func (a *age) behind() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cutOff(a.now())
}

// due is called by the timer.
func (a *age) due() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil { // it was not closed meanwhile
		a.look()
	}
}

// close ends the measuring, and writes down for the next start what it has found.
func (a *age) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer == nil {
		return
	}
	a.timer.Stop()
	a.timer = nil
	if !a.last.IsZero() && !a.cut {
		a.write(comparison{At: a.wall().Add(-a.now())})
	}
}

// write replaces the file. A full disk makes the next start think that the copy is older
// or, if the node was cut off, as old as its last sign of life.
func (a *age) write(c comparison) {
	a.cut, c.At = c.Cut, c.At.UTC().Truncate(time.Second)
	raw, err := json.Marshal(c)
	if err == nil {
		err = datadir.WriteFile(a.path, raw)
	}
	if err != nil {
		a.log.Info("when the catalog was last compared is not written down", slog.Any("error", err))
	}
}
