package broker

import (
	"context"
	"errors"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/internal/value"
)

// Keys returns the store of an app. Zero fields of the quota mean its defaults.
type Keys func(app string, quota picloud.KVQuota) Store

// Store is the key-value store of one app. Values are encoded, and stay so.
type Store interface {
	KeyReader
	KeyWriter
}

// Room reserves memory for n bytes more of what a store reads, before the store copies
// them out of the connection. Its error ends the read, and is what the store returns.
type Room = func(n int64) error

// KeyReader reads the keys of one app.
type KeyReader interface {
	// Get returns the entry of a key, and whether there is one.
	Get(ctx context.Context, key string, room Room) (e picloud.KVEntry, found bool, err error)
	// List returns at most limit entries with the prefix, after the cursor, and the
	// next cursor; empty: the end.
	List(ctx context.Context, prefix string, limit int, cursor string, room Room) (items []picloud.KVEntry, next string, err error)
}

// KeyWriter changes the keys of one app. A ttl of 0 means for ever.
type KeyWriter interface {
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) (version int64, err error)
	// CompareAndSet writes a key that has the version; 0: there must be no such key.
	// It returns 0 when the key has another version.
	CompareAndSet(ctx context.Context, key string, version int64, value []byte, ttl time.Duration) (newVersion int64, err error)
	// Increment fails with picloud.ErrNotANumber or picloud.ErrOverflow.
	Increment(ctx context.Context, key string, by int64, ttl time.Duration) (sum int64, err error)
	// Delete removes a key that has the version; 0: any.
	Delete(ctx context.Context, key string, version int64) (gone bool, err error)
}

// UseKeys gives the broker the store of keys, when the database is reached.
func (b *Broker) UseKeys(keys Keys) { b.keys.Store(&keys) }

// FirstWait bounds the wait for the first connection to the database.
const FirstWait = 2 * time.Second

// store returns the app's store. Right after the start of the node it waits for the first
// attempt to reach the database.
func (b *Broker) store(ctx context.Context, g *Grants) (Store, error) {
	keys := b.keys.Load()
	if keys == nil && b.settled != nil {
		patience := time.NewTimer(FirstWait)
		defer patience.Stop()
		select {
		case <-b.settled:
		case <-patience.C:
		case <-ctx.Done():
		}
		keys = b.keys.Load()
	}
	if keys == nil {
		return nil, unavailable()
	}
	store := (*keys)(g.app.App, g.app.Settings.KV)
	if g.trial != nil {
		return g.trial.over(store), nil
	}
	return store, nil
}

func unavailable() error {
	return hostcall.Errorf(hostcall.CodeKVUnavailable, "the database cannot be reached; the key-value store is back when it is")
}

// kvError turns an error of the store into one for scripts.
func kvError(ctx context.Context, err error) error {
	var e *picloud.Error
	if known := (*hostcall.Error)(nil); errors.As(err, &known) {
		return known
	}
	switch {
	case errors.Is(err, picloud.ErrNotANumber):
		return hostcall.Errorf(hostcall.CodeKVNotANumber, "the value of the key is not a whole number")
	case errors.Is(err, picloud.ErrOverflow):
		return hostcall.Errorf(hostcall.CodeKVOverflow, "the sum does not fit into 64 bits")
	case !errors.As(err, &e):
		if ctx.Err() != nil {
			return unavailable()
		}
		return err
	}
	switch e.Code {
	case picloud.CodeQuota:
		return hostcall.Errorf(hostcall.CodeKVQuota, "%s; %s", e.Detail, e.Hint)
	case picloud.CodeTooLarge:
		return hostcall.Errorf(hostcall.CodeKVTooLarge, "%s", e.Detail)
	case picloud.CodeInvalid:
		return hostcall.Errorf(hostcall.CodeInvalidArguments, "%s", e.Detail)
	case picloud.CodeNotFound:
		return hostcall.Errorf(hostcall.CodeKVUnavailable, "the app is gone")
	}
	if ctx.Err() != nil || errors.Is(err, picloud.ErrUnavailable) {
		return unavailable()
	}
	return err
}

// get answers hostcall.Get. The stored value goes into the answer as it is.
func (b *Broker) get(ctx context.Context, g *Grants, call *executor.HostCall) ([]byte, error) {
	var ask hostcall.Get
	if err := ask.Read(call.Args); err != nil {
		return nil, err
	}
	store, err := b.store(ctx, g)
	if err != nil {
		return nil, err
	}
	entry, found, err := store.Get(ctx, ask.Key, twice(call))
	if err != nil {
		return nil, kvError(ctx, err)
	}
	if !found {
		return nil, nil
	}
	return hostcall.AppendEntry(make([]byte, 0, len(entry.Value)+entryHead), entry.Value, entry.Version), nil
}

// twice reserves what an entry takes: once as it is read, and once in the answer.
func twice(call *executor.HostCall) Room {
	return func(n int64) error { return call.Take(2 * (n + entryHead)) }
}

// entryHead is more than an entry takes besides its key and its value, in bytes.
const entryHead = 48

// set answers hostcall.Set. The value goes to the store as it came.
func (b *Broker) set(ctx context.Context, g *Grants, call *executor.HostCall) ([]byte, error) {
	var ask hostcall.Set
	if err := ask.Read(call.Args); err != nil {
		return nil, err
	}
	store, err := b.store(ctx, g)
	if err != nil {
		return nil, err
	}
	version, err := store.Set(ctx, ask.Key, ask.Value, ask.TTL)
	return number(ctx, version, err)
}

// compareAndSet answers hostcall.CAS: optimistic concurrency for scripts.
func (b *Broker) compareAndSet(ctx context.Context, g *Grants, call *executor.HostCall) ([]byte, error) {
	var ask hostcall.CAS
	if err := ask.Read(call.Args); err != nil {
		return nil, err
	}
	store, err := b.store(ctx, g)
	if err != nil {
		return nil, err
	}
	version, err := store.CompareAndSet(ctx, ask.Key, ask.Version, ask.Value, ask.TTL)
	return number(ctx, version, err)
}

// increment answers hostcall.Incr.
func (b *Broker) increment(ctx context.Context, g *Grants, call *executor.HostCall) ([]byte, error) {
	var ask hostcall.Incr
	if err := ask.Read(call.Args); err != nil {
		return nil, err
	}
	store, err := b.store(ctx, g)
	if err != nil {
		return nil, err
	}
	sum, err := store.Increment(ctx, ask.Key, ask.By, ask.TTL)
	return number(ctx, sum, err)
}

// number is an answer that is a number, or an error of the store.
func number(ctx context.Context, n int64, err error) ([]byte, error) {
	if err != nil {
		return nil, kvError(ctx, err)
	}
	return value.AppendInt(nil, n), nil
}

// delete answers hostcall.Delete.
func (b *Broker) delete(ctx context.Context, g *Grants, call *executor.HostCall) ([]byte, error) {
	var ask hostcall.Delete
	if err := ask.Read(call.Args); err != nil {
		return nil, err
	}
	store, err := b.store(ctx, g)
	if err != nil {
		return nil, err
	}
	gone, err := store.Delete(ctx, ask.Key, ask.Version)
	if err != nil {
		return nil, kvError(ctx, err)
	}
	return value.AppendBool(nil, gone), nil
}

// list answers hostcall.List. The stored values go into the answer as they are.
func (b *Broker) list(ctx context.Context, g *Grants, call *executor.HostCall) ([]byte, error) {
	var ask hostcall.List
	if err := ask.Read(call.Args); err != nil {
		return nil, err
	}
	store, err := b.store(ctx, g)
	if err != nil {
		return nil, err
	}
	entries, next, err := store.List(ctx, ask.Prefix, ask.Limit, ask.Cursor, twice(call))
	if err != nil {
		return nil, kvError(ctx, err)
	}
	size := len(next) + entryHead
	for _, e := range entries {
		size += len(e.Key) + len(e.Value) + entryHead
	}
	answer := hostcall.AppendPage(make([]byte, 0, size), next, len(entries))
	for _, e := range entries {
		answer = hostcall.AppendListed(answer, e.Key, e.Value, e.Version)
	}
	return answer, nil
}
