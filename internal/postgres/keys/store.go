package keys

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Store is the key-value store of one app as its functions use it: on
// connections of their own, with short waits. When the database cannot be
// reached in time, errors are CodeDatabaseDown.
type Store struct {
	db    *postgres.DB
	app   string
	quota picloud.KVQuota
}

// Of returns the store of an app. Zero fields of the quota mean its defaults.
func (x KV) Of(app string, quota picloud.KVQuota) *Store { return &Store{x.db, app, quota} }

// Get returns the entry of a key, and whether there is one. It asks room for the bytes
// of the entry before it copies them out of the connection; an error of room ends it. A nil room
// has no limit.
func (x *Store) Get(ctx context.Context, key string, room func(n int64) error) (e picloud.KVEntry, found bool, err error) {
	k, err := kvOf("get key", x.app, key, x.quota)
	if err != nil {
		return e, false, err
	}
	err = x.look(ctx, k.Subject, func(ctx context.Context, q statements) error {
		rows, _ := q.Query(ctx, sqlKVGet, x.app, key) // the rows carry the error
		e, err = pgx.CollectExactlyOneRow(rows, within(room, entryRow))
		found = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return e, found, err
}

// Set sets a key to a value in CBOR and returns its version. The entry ends
// after ttl; 0: never. It fails with CodeQuota when the app has no room for it,
// with CodeTooLarge over MaxKVValue, and with CodeNotFound when the app is gone.
func (x *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) (version int64, err error) {
	return x.put(ctx, "set key", key, picloud.MatchAny, value, ttl)
}

// CompareAndSet is Set for a key that has the given version, 0 standing for
// one that is not there. When it has another, nothing changes and 0 is returned.
func (x *Store) CompareAndSet(ctx context.Context, key string, version int64, value []byte, ttl time.Duration) (newVersion int64, err error) {
	match := picloud.MatchNone
	if version != 0 {
		match = picloud.MatchVersion(version)
	}
	return x.put(ctx, "compare and set key", key, match, value, ttl)
}

func (x *Store) put(ctx context.Context, op, key string, match picloud.Match, value []byte, ttl time.Duration) (version int64, err error) {
	k, err := kvOf(op, x.app, key, x.quota)
	if err != nil {
		return 0, err
	}
	err = x.forFunction(ctx, k.Subject, func(ctx context.Context, q statements) error {
		return k.makeRoom(ctx, q, func() error {
			version, err = k.put(ctx, q, value, match, ttl)
			return err
		})
	})
	return version, err
}

// Increment adds to the integer of a key and returns the sum. A key that is
// not there counts as 0, and then ends after ttl; 0: never. The errors are
// those of Set, and ErrNotANumber and ErrOverflow.
func (x *Store) Increment(ctx context.Context, key string, by int64, ttl time.Duration) (sum int64, err error) {
	k, err := kvOf("count up key", x.app, key, x.quota)
	if err != nil {
		return 0, err
	}
	err = x.forFunction(ctx, k.Subject, func(ctx context.Context, q statements) error {
		return k.makeRoom(ctx, q, func() error {
			sum, err = k.increment(ctx, q, by, ttl)
			return err
		})
	})
	return sum, err
}

// Delete removes a key that has the given version, 0 standing for any, and
// reports whether it did.
func (x *Store) Delete(ctx context.Context, key string, version int64) (gone bool, err error) {
	k, err := kvOf("delete key", x.app, key, x.quota)
	if err != nil {
		return false, err
	}
	err = x.forFunction(ctx, k.Subject, func(ctx context.Context, q statements) error {
		match := picloud.MatchAny
		if version != 0 {
			match = picloud.MatchVersion(version)
		}
		gone, _, err = k.remove(ctx, q, match)
		return err
	})
	return gone, err
}

// List returns entries by key, those with the prefix and after the cursor: at
// most limit of them, from 1 to 1,000, and at most 1 MiB unless the first alone
// is larger. The next cursor is empty at the end. It asks room as Get does.
func (x *Store) List(ctx context.Context, prefix string, limit int, cursor string, room func(n int64) error) (items []picloud.KVEntry, next string, err error) {
	p, err := pageOf("list keys", x.app, prefix, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	if limit < 1 || limit > 1000 {
		return nil, "", &picloud.Error{
			Code: picloud.CodeInvalid, Op: p.Op, Resource: p.Resource, Detail: fmt.Sprintf("%d is not a valid limit", limit),
			Fields: []picloud.FieldError{{Field: "limit", Message: "must be between 1 and 1000"}},
		}
	}
	err = x.look(ctx, p.Subject, func(ctx context.Context, q statements) error {
		found, _ := q.Query(ctx, sqlKVList, p.args(x.app)...) // the rows carry the error
		items, err = pgx.CollectRows(found, within(room, p.row))
		return err
	})
	if err != nil {
		return nil, "", err
	}
	items, next = p.cut(items)
	return items, next, nil
}

// within asks room for a row, whose bytes are still those of the connection, before the
// row is copied.
func within[T any](room func(n int64) error, read pgx.RowToFunc[T]) pgx.RowToFunc[T] {
	return func(row pgx.CollectableRow) (v T, err error) {
		if room == nil {
			return read(row)
		}
		size := 0
		for _, column := range row.RawValues() {
			size += len(column)
		}
		if err := room(int64(size)); err != nil {
			return v, err
		}
		return read(row)
	}
}

// forFunction runs an operation on one of the connections of functions.
func (x *Store) forFunction(ctx context.Context, s postgres.Subject, fn func(context.Context, statements) error) error {
	return x.db.ForFunction(ctx, s, func(ctx context.Context, conn *pgxpool.Conn) error { return fn(ctx, conn) })
}

// look is forFunction for an operation that only reads.
func (x *Store) look(ctx context.Context, s postgres.Subject, fn func(context.Context, statements) error) error {
	return x.db.LookForFunction(ctx, s, func(ctx context.Context, conn *pgxpool.Conn) error { return fn(ctx, conn) })
}
