package broker

import (
	"cmp"
	"context"
	"encoding/base64"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/internal/egress"
	"github.com/picloud/picloud/internal/value"
)

// The bounds of what one trial may write.
const (
	maxOverlayKeys  = 1000
	maxOverlayBytes = 4 << 20 // of keys and values
	maxListedBytes  = 1 << 20 // of one page, as the store has it
)

// firstOverlayVersion is the version of the first write of a trial: no key of a store
// has come that far.
const firstOverlayVersion = 1 << 52

// overlay is a store whose writes stay in memory, over a store that is only read
// (copy-on-write). It is for one call, whose host calls may come at once.
type overlay struct {
	under  KeyReader
	memory egress.Memory // of the node

	mu      sync.Mutex
	entries map[string]*written
	order   []string // keys as they were first written
	version int64
	size    int64
}

// written is a key that was written.
type written struct {
	picloud.KVEntry
	deleted bool
	stored  bool // the store under the overlay has the key
}

func (w *written) live() bool {
	return !w.deleted && (w.ExpiresAt.IsZero() || w.ExpiresAt.After(time.Now()))
}

// find returns the entry of a key as the call sees it.
func (o *overlay) find(ctx context.Context, key string, room Room) (picloud.KVEntry, bool, error) {
	if w := o.entries[key]; w != nil {
		if !w.live() {
			return picloud.KVEntry{}, false, nil
		}
		return w.KVEntry, true, askRoom(room, w.KVEntry)
	}
	return o.under.Get(ctx, key, room)
}

func askRoom(room Room, e picloud.KVEntry) error {
	if room == nil {
		return nil
	}
	return room(int64(len(e.Key) + len(e.Value)))
}

// write puts an entry over the store. was says whether the call saw the key before.
func (o *overlay) write(e picloud.KVEntry, deleted, was bool) (version int64, err error) {
	w := o.entries[e.Key]
	size := int64(len(e.Key) + len(e.Value))
	before := int64(0)
	if w != nil {
		before = int64(len(w.Key) + len(w.Value))
	}
	if w == nil && len(o.entries) >= maxOverlayKeys || o.size-before+size > maxOverlayBytes {
		return 0, hostcall.Errorf(hostcall.CodeKVQuota, "a test run holds at most %d written keys and %s", maxOverlayKeys, picloud.Size(maxOverlayBytes))
	}
	if more := size - before; more > 0 && !o.memory.Take(more) {
		return 0, hostcall.Errorf(hostcall.CodeBusy, "this node has no memory left for what the test run writes")
	} else if more < 0 {
		o.memory.Give(-more)
	}
	o.size += size - before
	if w == nil {
		w = &written{stored: was}
		o.entries[e.Key] = w
		o.order = append(o.order, e.Key)
	}
	o.version++
	e.Version = firstOverlayVersion + o.version
	e.Value = slices.Clone(e.Value) // it aliases the arguments of a host call
	w.KVEntry, w.deleted = e, deleted
	return e.Version, nil
}

func expiry(ttl time.Duration) time.Time {
	if ttl == 0 {
		return time.Time{}
	}
	return time.Now().Add(ttl)
}

// Get implements KeyReader.
func (o *overlay) Get(ctx context.Context, key string, room Room) (picloud.KVEntry, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.find(ctx, key, room)
}

// Set implements KeyWriter.
func (o *overlay) Set(ctx context.Context, key string, v []byte, ttl time.Duration) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, was, err := o.find(ctx, key, nil)
	if err != nil {
		return 0, err
	}
	return o.write(picloud.KVEntry{Key: key, Value: v, ExpiresAt: expiry(ttl)}, false, was)
}

// CompareAndSet implements KeyWriter.
func (o *overlay) CompareAndSet(ctx context.Context, key string, version int64, v []byte, ttl time.Duration) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, was, err := o.find(ctx, key, nil)
	if err != nil || e.Version != version { // an entry that is not there has version 0
		return 0, err
	}
	return o.write(picloud.KVEntry{Key: key, Value: v, ExpiresAt: expiry(ttl)}, false, was)
}

// Increment implements KeyWriter.
func (o *overlay) Increment(ctx context.Context, key string, by int64, ttl time.Duration) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, was, err := o.find(ctx, key, nil)
	if err != nil {
		return 0, err
	}
	sum := by
	if was {
		n, ok := value.Item(e.Value).Int()
		switch {
		case !ok:
			return 0, picloud.ErrNotANumber
		case by > 0 && n > math.MaxInt64-by, by < 0 && n < math.MinInt64-by:
			return 0, picloud.ErrOverflow
		}
		sum = n + by
	} else {
		e.ExpiresAt = expiry(ttl)
	}
	e.Key, e.Value = key, value.AppendInt(nil, sum)
	_, err = o.write(e, false, was)
	return sum, err
}

// Delete implements KeyWriter.
func (o *overlay) Delete(ctx context.Context, key string, version int64) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, was, err := o.find(ctx, key, nil)
	if err != nil || !was || version != 0 && version != e.Version {
		return false, err
	}
	_, err = o.write(picloud.KVEntry{Key: key}, true, was)
	return err == nil, err
}

// List implements KeyReader. A cursor of an overlay is the store's cursor, and behind a
// dot the last key that was listed: a page of the store can end within one of the
// overlay.
func (o *overlay) List(ctx context.Context, prefix string, limit int, cursor string, room Room) (items []picloud.KVEntry, next string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	under, after, err := readCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	size := 0
	for {
		page, more, err := o.under.List(ctx, prefix, limit, under, room)
		if err != nil {
			return nil, "", err
		}
		end := ""
		if len(page) > 0 {
			end = page[len(page)-1].Key
		}
		merged, err := o.merge(page, prefix, after, end, more == "", room)
		if err != nil {
			return nil, "", err
		}
		for _, e := range merged {
			size += len(e.Key) + len(e.Value)
			if len(items) == limit || len(items) > 0 && size > maxListedBytes {
				return items, writeCursor(under, items[len(items)-1].Key), nil
			}
			items = append(items, e)
		}
		if more == "" {
			return items, "", nil
		}
		// Written keys beyond this page come with the store's next one.
		// A full page looks there, too: it may be that all keys were deleted.
		under, after = more, end
	}
}

// merge returns what follows the key after in a page of the store that ends with the key
// end, with what was written in its range. The last page has no end.
func (o *overlay) merge(page []picloud.KVEntry, prefix, after, end string, last bool, room Room) ([]picloud.KVEntry, error) {
	page = slices.DeleteFunc(page, func(e picloud.KVEntry) bool { return e.Key <= after || o.entries[e.Key] != nil })
	for key, w := range o.entries {
		if !w.live() || !strings.HasPrefix(key, prefix) || key <= after || !last && key > end {
			continue
		}
		if err := askRoom(room, w.KVEntry); err != nil {
			return nil, err
		}
		page = append(page, w.KVEntry)
	}
	slices.SortFunc(page, func(a, b picloud.KVEntry) int { return cmp.Compare(a.Key, b.Key) })
	return page, nil
}

func writeCursor(under, after string) string {
	return under + "." + base64.RawURLEncoding.EncodeToString([]byte(after))
}

func readCursor(cursor string) (under, after string, err error) {
	if cursor == "" {
		return "", "", nil
	}
	under, text, found := strings.Cut(cursor, ".")
	key, err := base64.RawURLEncoding.DecodeString(text)
	if !found || err != nil {
		return "", "", hostcall.Errorf(hostcall.CodeInvalidArguments, "the cursor does not belong to this list")
	}
	return under, string(key), nil
}

// writes says how the store would differ, in the order of the first writes.
func (o *overlay) writes() (out []picloud.KeyWrite) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, key := range o.order {
		w := o.entries[key]
		switch {
		case !w.deleted:
			out = append(out, picloud.KeyWrite{Key: key, Op: picloud.WriteSet, Size: len(w.Value)})
		case w.stored:
			out = append(out, picloud.KeyWrite{Key: key, Op: picloud.WriteDelete})
		}
	}
	return out
}

// end returns the memory.
func (o *overlay) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.memory.Give(o.size)
	o.size, o.entries, o.order = 0, nil, nil
}
