package keys

import (
	"context"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// KV are the key-value stores of apps: here for people, Of an app for its
// functions.
//
// Each write is one statement that carries its checks and counts what it adds
// to the app's usage (optimistic concurrency). The statement locks the key's row
// and then reads it, so that it knows the newest state. Another write may insert
// the key after the statement took its snapshot; then its own insert does
// nothing, and the statement is run again.
type KV struct{ db *postgres.DB }

// Why a number could not be counted up or down.
var (
	ErrNotANumber = picloud.ErrNotANumber
	ErrOverflow   = picloud.ErrOverflow
)

const (
	// maxListed bounds what one page of a list holds, in bytes of keys and
	// values; a page has at least one entry.
	maxListed = 1 << 20
	// sweepAtOnce bounds how many expired entries a write removes for room.
	sweepAtOnce = 1000
	usageShards = 16
	// sweepsAtOnce bounds how many times the manager removes sweepAtOnce expired entries in
	// one go.
	sweepsAtOnce = 100
)

// statements is what keys are written and read by: a pool's connection, or a
// transaction.
type statements interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// kvKey is a key of an app, with what the app may keep.
type kvKey struct {
	postgres.Subject
	app, key string
	quota    picloud.KVQuota
}

// shard says which of the app's counters the key's writers use.
func (k kvKey) shard() int {
	h := fnv.New32a()
	h.Write([]byte(k.key)) // never fails
	return int(h.Sum32() % usageShards)
}

// kvOf begins an operation on a key.
func kvOf(op, app, key string, quota picloud.KVQuota) (kvKey, error) {
	k := kvKey{postgres.About(op, postgres.Resource(app, picloud.Shorten(key, 80))), app, key, quota.WithDefaults()}
	if !picloud.ValidName(app) {
		return k, k.NotFound()
	}
	return k, picloud.CheckKVKey(key)
}

func (k kvKey) checkTTL(ttl time.Duration) error {
	if ttl >= 0 && ttl <= picloud.MaxKVTTL {
		return nil
	}
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: k.Op, Resource: k.Resource, Detail: "the time to live is out of range",
		Fields: []picloud.FieldError{{Field: "ttl", Message: "must be between 1ms and 10 years, or 0 for ever"}},
	}
}

func (k kvKey) checkValue(value []byte) error {
	if len(value) == 0 {
		return k.Fail(picloud.CodeInvalid, "the value is not encoded", "")
	}
	if len(value) > picloud.MaxKVValue {
		return k.Fail(picloud.CodeTooLarge, fmt.Sprintf("the value has %d bytes, more than %d", len(value), picloud.MaxKVValue), "")
	}
	return nil
}

// put sets the key while it has the version of match. It returns the new
// version, 0 when the key has another one.
func (k kvKey) put(ctx context.Context, q statements, value []byte, match picloud.Match, ttl time.Duration) (version int64, err error) {
	if err := k.checkValue(value); err != nil {
		return 0, err
	}
	if err := k.checkTTL(ttl); err != nil {
		return 0, err
	}
	if match < picloud.MatchNone {
		return 0, nil // no key ever has it
	}
	var number *int64
	if n, ok := readInteger(value); ok {
		value, number = nil, &n
	}
	err = k.retry(func() (word string, err error) {
		err = q.QueryRow(ctx, sqlKVPut, k.app, k.key, k.quota.Keys, k.quota.Bytes, k.shard(), wholeMilliseconds(ttl), value, number, int64(match)).Scan(&word, &version)
		return word, err
	})
	return version, err
}

// increment adds to the key's number and returns the sum.
func (k kvKey) increment(ctx context.Context, q statements, by int64, ttl time.Duration) (sum int64, err error) {
	if err := k.checkTTL(ttl); err != nil {
		return 0, err
	}
	err = k.retry(func() (word string, err error) {
		err = q.QueryRow(ctx, sqlKVIncrement, k.app, k.key, k.quota.Keys, k.quota.Bytes, k.shard(), wholeMilliseconds(ttl), by).Scan(&word, &sum)
		return word, err
	})
	return sum, err
}

// wholeMilliseconds is a time to live as the statements take it: one that is
// not 0 does not become "for ever".
func wholeMilliseconds(ttl time.Duration) int64 {
	return int64((ttl + time.Millisecond - 1) / time.Millisecond)
}

// remove deletes the key while it has the version of match. It reports whether
// the key was there, and whether it had another version.
func (k kvKey) remove(ctx context.Context, q statements, match picloud.Match) (gone, changed bool, err error) {
	var word string
	err = q.QueryRow(ctx, sqlKVDelete, k.app, k.key, k.shard(), int64(match)).Scan(&word)
	return word == "ok", word == "changed", err
}

// retry runs a write until its snapshot is not stale. Each time that it is stale,
// another write of the key was committed, and the deadline bounds it.
func (k kvKey) retry(write func() (word string, err error)) error {
	for {
		switch word, err := write(); {
		case err != nil || word == "ok" || word == "changed":
			return err
		case word != "stale":
			return k.refuse(word)
		}
	}
}

// makeRoom runs a write that found no room once more if expired entries can
// make some. The sweep is a transaction of its own: it
// locks a shard, and a transaction that has yet to lock a key must not hold one
// (DESIGN.md has the order of locks).
func (k kvKey) makeRoom(ctx context.Context, q statements, write func() error) error {
	err := write()
	if picloud.CodeOf(err) != picloud.CodeQuota {
		return err
	}
	freed, sweepErr := q.Exec(ctx, sqlKVSweep, k.app, sweepAtOnce)
	if sweepErr != nil {
		return k.Wrap(sweepErr)
	}
	if freed.RowsAffected() == 0 {
		return err
	}
	return write()
}

// refuse turns a statement's verdict into an error.
func (k kvKey) refuse(word string) error {
	failed := func(cause error) error {
		return &picloud.Error{Code: picloud.CodeConflict, Op: k.Op, Resource: k.Resource, Err: cause}
	}
	hint := func(flag string) string {
		return "delete some keys, let them expire, or raise the quota: picloud app set " + k.app + " " + flag
	}
	switch word {
	case "keys":
		return k.Fail(picloud.CodeQuota, fmt.Sprintf("the app may keep %d keys", k.quota.Keys), hint("--kv-keys NUMBER"))
	case "bytes":
		return k.Fail(picloud.CodeQuota, fmt.Sprintf("the app may keep %s of keys and values", k.quota.Bytes), hint("--kv-bytes SIZE"))
	case "not a number":
		return failed(ErrNotANumber)
	case "overflow":
		return failed(ErrOverflow)
	}
	return k.NotFound() // there is no such app
}

func entryRow(row pgx.CollectableRow) (e picloud.KVEntry, err error) {
	_, err = scanEntry(row, &e)
	return e, err
}

// scanEntry reads an entry, and how many were found with it.
func scanEntry(row pgx.Row, e *picloud.KVEntry) (found int, err error) {
	var number *int64
	var expires *time.Time
	if err := row.Scan(&e.Key, &e.Value, &number, &e.Version, &expires, &found); err != nil {
		return 0, err
	}
	if number != nil {
		e.Value = appendInteger(nil, *number)
	}
	if expires != nil {
		e.ExpiresAt = *expires
	}
	return found, nil
}

// kvPage is a part of a list: entries with a prefix, after a key.
type kvPage struct {
	postgres.Subject
	prefix, after string
	size          int
	found         int // how many there were within size + 1
}

// pageOf begins a list. Its cursors are keys, in base64.
func pageOf(op, app, prefix, cursor string, size int) (*kvPage, error) {
	p := &kvPage{Subject: postgres.About(op, app), prefix: prefix, size: size}
	if !picloud.ValidName(app) {
		return nil, p.NotFound()
	}
	if prefix != "" && picloud.CheckKVKey(prefix) != nil {
		return nil, &picloud.Error{
			Code: picloud.CodeInvalid, Op: op, Resource: app, Detail: "no key can begin with the prefix",
			Fields: []picloud.FieldError{{Field: "prefix", Message: "must be at most 512 bytes of UTF-8 without NUL"}},
		}
	}
	if cursor == "" {
		return p, nil
	}
	after, err := base64.RawURLEncoding.DecodeString(cursor)
	if p.after = string(after); err != nil || picloud.CheckKVKey(p.after) != nil || !strings.HasPrefix(p.after, prefix) {
		return nil, p.BadCursor()
	}
	return p, nil
}

func (p *kvPage) args(app string) []any {
	return []any{app, p.prefix, prefixEnd(p.prefix), p.after, p.size + 1, maxListed}
}

func (p *kvPage) row(row pgx.CollectableRow) (e picloud.KVEntry, err error) {
	p.found, err = scanEntry(row, &e)
	return e, err
}

// cut ends the page and returns the cursor of the next one, empty at the end.
func (p *kvPage) cut(items []picloud.KVEntry) ([]picloud.KVEntry, string) {
	items = items[:min(len(items), p.size)]
	if len(items) == 0 || len(items) == p.found {
		return items, ""
	}
	return items, base64.RawURLEncoding.EncodeToString([]byte(items[len(items)-1].Key))
}

// prefixEnd returns a text that is greater than everything with the prefix and
// not greater than anything else, where texts have the order of their bytes:
// the bound of a range of the index, which a pattern would not give a prepared
// statement.
func prefixEnd(prefix string) string {
	for prefix != "" {
		last, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch last {
		case utf8.MaxRune:
			continue // has no next; that of the one before it is the end
		case 0xd7ff:
			return prefix + "\ue000" // between them are surrogates, which no text has
		}
		return prefix + string(last+1)
	}
	return strings.Repeat(string(utf8.MaxRune), picloud.MaxKVKey/4+1) // longer than any key
}
