package hostcall

import (
	"math"
	"time"

	"github.com/picloud/picloud/internal/value"
)

// Get is kv.get [key]. Its answer is null, or what AppendEntry writes.
type Get struct{ Key string }

// Append writes the arguments.
func (c Get) Append(dst []byte) []byte { return value.AppendText(value.AppendList(dst, 1), c.Key) }

// Read reads and checks the arguments. The error is an *Error.
func (c *Get) Read(a Arguments) error {
	r := read(KVGet, a, 1)
	c.Key = r.key()
	return r.done()
}

// AppendEntry writes the answer of kv.get: {value, version}.
func AppendEntry(dst []byte, v value.Item, version int64) []byte {
	dst = append(value.AppendText(value.AppendMap(dst, 2), "value"), v...)
	return value.AppendInt(value.AppendText(dst, "version"), version)
}

// Set is kv.set [key, value, ttl]. Its answer is the new version.
type Set struct {
	Key   string
	Value value.Item    // as it is kept
	TTL   time.Duration // in milliseconds on the wire; 0: for ever
}

// Append writes the arguments.
func (c Set) Append(dst []byte) []byte {
	dst = append(value.AppendText(value.AppendList(dst, 3), c.Key), c.Value...)
	return value.AppendInt(dst, c.TTL.Milliseconds())
}

// Read reads and checks the arguments. The error is an *Error.
func (c *Set) Read(a Arguments) error {
	r := read(KVSet, a, 3)
	c.Key, c.Value, c.TTL = r.key(), r.value(), r.ttl()
	return r.done()
}

// CAS is kv.cas [key, version, value, ttl]: Set if the key has the version, where 0
// means that there is no such key. Its answer is the new version; 0: the key has
// another one.
type CAS struct {
	Key     string
	Version int64
	Value   value.Item
	TTL     time.Duration
}

// Append writes the arguments.
func (c CAS) Append(dst []byte) []byte {
	dst = value.AppendInt(value.AppendText(value.AppendList(dst, 4), c.Key), c.Version)
	return value.AppendInt(append(dst, c.Value...), c.TTL.Milliseconds())
}

// Read reads and checks the arguments. The error is an *Error.
func (c *CAS) Read(a Arguments) error {
	r := read(KVCAS, a, 4)
	c.Key, c.Version, c.Value, c.TTL = r.key(), r.integer("version", 0, math.MaxInt64), r.value(), r.ttl()
	return r.done()
}

// Incr is kv.incr [key, by, ttl]. Its answer is the sum.
type Incr struct {
	Key string
	By  int64
	TTL time.Duration // of a key that is made
}

// Append writes the arguments.
func (c Incr) Append(dst []byte) []byte {
	dst = value.AppendInt(value.AppendText(value.AppendList(dst, 3), c.Key), c.By)
	return value.AppendInt(dst, c.TTL.Milliseconds())
}

// Read reads and checks the arguments. The error is an *Error.
func (c *Incr) Read(a Arguments) error {
	r := read(KVIncr, a, 3)
	c.Key, c.By, c.TTL = r.key(), r.integer("by", math.MinInt64, math.MaxInt64), r.ttl()
	return r.done()
}

// Delete is kv.delete [key, version]; version 0 means any. Its answer says whether
// the key was deleted.
type Delete struct {
	Key     string
	Version int64
}

// Append writes the arguments.
func (c Delete) Append(dst []byte) []byte {
	return value.AppendInt(value.AppendText(value.AppendList(dst, 2), c.Key), c.Version)
}

// Read reads and checks the arguments. The error is an *Error.
func (c *Delete) Read(a Arguments) error {
	r := read(KVDelete, a, 2)
	c.Key, c.Version = r.key(), r.integer("version", 0, math.MaxInt64)
	return r.done()
}

// List is kv.list [prefix, limit, cursor]. Its answer is what AppendPage writes.
type List struct {
	Prefix string
	Limit  int    // 1 to MaxListed
	Cursor string // the "next" of the page before; empty: from the start
}

// Append writes the arguments.
func (c List) Append(dst []byte) []byte {
	dst = value.AppendInt(value.AppendText(value.AppendList(dst, 3), c.Prefix), int64(c.Limit))
	return value.AppendText(dst, c.Cursor)
}

// Read reads and checks the arguments. The error is an *Error.
func (c *List) Read(a Arguments) error {
	r := read(KVList, a, 3)
	c.Prefix, c.Limit, c.Cursor = r.text("prefix"), int(r.integer("limit", 1, MaxListed)), r.text("cursor")
	return r.done()
}

// AppendPage begins the answer of kv.list: {items: [{key, value, version}], next}.
// The n items follow, written by AppendListed. next is empty at the end.
func AppendPage(dst []byte, next string, n int) []byte {
	dst = value.AppendText(value.AppendText(value.AppendMap(dst, 2), "next"), next)
	return value.AppendList(value.AppendText(dst, "items"), n)
}

// AppendListed writes one item of a page.
func AppendListed(dst []byte, key string, v value.Item, version int64) []byte {
	dst = value.AppendText(value.AppendText(value.AppendMap(dst, 3), "key"), key)
	dst = append(value.AppendText(dst, "value"), v...)
	return value.AppendInt(value.AppendText(dst, "version"), version)
}
