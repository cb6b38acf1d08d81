package logbook

import (
	"cmp"
	"slices"
)

const (
	// maxBuffered bounds the memory of all records that wait for the writer, in bytes.
	maxBuffered = 16 << 20
	// maxOfApp is the most of it that one app can hold: several calls that each log
	// as much as a call may.
	maxOfApp = 4 << 20
	// hurryAt is the size of an app's buffer from which the writer does not wait for
	// more.
	hurryAt = maxOfApp / 4
	// entrySize is what an entry takes beside its line, in bytes.
	entrySize = 64
)

// Why records are not in the log.
const (
	tooFast = "they came faster than the node's disk takes them"
	noDisk  = "the node's disk did not take them"
)

// buffers hold the records that wait for the writer, each app its own. When all
// together are full, the longest one loses its newest record to whoever comes
// (longest queue drop): the flood of one app takes nothing from an app that holds less.
type buffers struct {
	of   map[string]*buffer
	size int // of all, with what is being written
}

// buffer holds the records of one app. Once a record was dropped, the following ones
// are dropped too until the writer has taken those before: each gap has one record in
// its place that counts it.
type buffer struct {
	entries []entry
	size    int // with what is being written
	missing int64
	why     string // of the next gap
	forget  bool   // the files go before the entries are written
	life    int    // counts how often it was forgotten
}

// entry is a record, or a gap.
type entry struct {
	line    []byte // JSON and a newline; nil: a gap
	missing int64
	why     string
}

func (e entry) size() int { return entrySize + len(e.line) }

// get returns the buffer of an app.
func (b *buffers) get(app string) *buffer {
	own := b.of[app]
	if own == nil {
		own = &buffer{why: tooFast}
		b.of[app] = own
	}
	return own
}

// refuses reports whether the app's records are dropped now, and counts one more.
func (b *buffers) refuses(app string) bool {
	own := b.of[app]
	if own == nil || own.missing == 0 {
		return false
	}
	own.missing++
	return true
}

// add takes a line. It returns how many records were dropped, of this app or of
// another, and whether the writer should come at once.
func (b *buffers) add(app string, line []byte) (dropped int64, urgent bool) {
	own, e := b.get(app), entry{line: line}
	if own.missing > 0 || own.size+e.size() > maxOfApp {
		own.missing++
		return 1, true
	}
	for b.size+e.size() > maxBuffered {
		longest := b.longest()
		if longest == nil || longest.size <= own.size {
			own.missing++
			return dropped + 1, true
		}
		dropped += b.cut(longest)
	}
	before := own.size
	own.entries = append(own.entries, e)
	own.size += e.size()
	b.size += e.size()
	return dropped, before < hurryAt && own.size >= hurryAt
}

// longest returns the buffer that has the most to lose; nil: all is being written.
func (b *buffers) longest() (found *buffer) {
	for _, other := range b.of {
		if len(other.entries) > 0 && (found == nil || other.size > found.size) {
			found = other
		}
	}
	return found
}

// cut drops the newest entry of a buffer, and returns how many records that were.
func (b *buffers) cut(from *buffer) (dropped int64) {
	last := len(from.entries) - 1
	e := from.entries[last]
	from.entries[last] = entry{}
	from.entries = from.entries[:last]
	from.size -= e.size()
	b.size -= e.size()
	if e.line == nil { // it was counted before
		from.missing += e.missing
		return 0
	}
	from.missing++
	return 1
}

// forget drops the records of an app, and has its files removed.
func (b *buffers) forget(app string) {
	own := b.get(app)
	for _, e := range own.entries {
		own.size -= e.size()
		b.size -= e.size()
	}
	own.entries, own.missing, own.forget = nil, 0, true
	own.life++
}

// batch is what the writer took from the buffer of an app.
type batch struct {
	app     string
	entries []entry
	forget  bool
	life    int
}

// take returns what there is to write, the smallest batch first: a flood waits, and
// quiet apps do not.
func (b *buffers) take() (out []batch) {
	for app, own := range b.of {
		if own.missing > 0 {
			own.entries = append(own.entries, entry{missing: own.missing, why: own.why})
			own.size += entrySize
			b.size += entrySize
			own.missing = 0
		}
		if len(own.entries) > 0 || own.forget {
			out = append(out, batch{app, own.entries, own.forget, own.life})
			own.entries, own.forget = nil, false
		}
	}
	slices.SortFunc(out, func(x, y batch) int { return cmp.Compare(len(x.entries), len(y.entries)) })
	return out
}

// settle notes that the first n entries of a batch were written. The others go back to
// where they were.
func (b *buffers) settle(taken batch, n int, failed bool) {
	own := b.get(taken.app)
	rest := taken.entries[n:]
	if own.life != taken.life { // it was forgotten meanwhile
		n, rest = len(taken.entries), nil
	}
	for _, e := range taken.entries[:n] {
		own.size -= e.size()
		b.size -= e.size()
	}
	if len(rest) > 0 {
		own.entries = append(rest, own.entries...)
	}
	own.why = tooFast
	if failed {
		own.why = noDisk
		own.forget = own.forget || taken.forget && n == 0 && own.life == taken.life
	}
	if own.size == 0 && own.missing == 0 && !own.forget && len(own.entries) == 0 {
		delete(b.of, taken.app)
	}
}
