package agent

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/wire"
	"github.com/picloud/picloud/internal/postgres/keys"
)

// keys returns the app's store.
func (h *host) keys(g *grants) (*keys.Store, error) {
	db := h.database.Load()
	if db == nil {
		return nil, unavailable()
	}
	return db.KV().Of(g.app.App, g.app.Settings.KV), nil
}

func unavailable() error {
	return refuse(hostKVUnavailable, "the database cannot be reached; the key-value store is back when it is")
}

// kvError turns an error of the store into one for scripts.
func kvError(ctx context.Context, err error) error {
	var e *picloud.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, keys.ErrNotANumber):
		return refuse(hostKVNotANumber, "the key has a value that is no whole number")
	case errors.Is(err, keys.ErrOverflow):
		return refuse(hostKVOverflow, "the sum does not fit into 64 bits")
	case !errors.As(err, &e):
		if ctx.Err() != nil {
			return unavailable()
		}
		return err
	}
	switch e.Code {
	case picloud.CodeQuota:
		return refuse(hostKVQuota, "%s; %s", e.Detail, e.Hint)
	case picloud.CodeTooLarge:
		return refuse(hostKVTooLarge, "%s", e.Detail)
	case picloud.CodeInvalid:
		return refuse(hostInvalidArguments, "%s", e.Detail)
	case picloud.CodeNotFound:
		return refuse(hostKVUnavailable, "the app is gone")
	}
	if ctx.Err() != nil || errors.Is(err, picloud.ErrUnavailable) {
		return unavailable()
	}
	return err
}

// key reads the argument that is a key.
func (a *arguments) key(i int) string {
	key := a.text(i, "key")
	if a.err == nil && picloud.CheckKVKey(key) != nil {
		a.err = refuse(hostKVInvalidKey, "%q is no key: it is 1 to %d bytes of UTF-8 without NUL", picloud.Shorten(key, 80), picloud.MaxKVKey)
	}
	return key
}

// value reads the argument that is a value, encoded.
func (a *arguments) value(i int) []byte {
	if a.err != nil {
		return nil
	}
	if depth(a.call.Args[i]) > picloud.MaxKVDepth {
		a.err = refuse(hostKVInvalidValue, "the value is nested more than %d deep", picloud.MaxKVDepth)
		return nil
	}
	encoded, err := wire.Marshal(a.call.Args[i])
	if err != nil {
		a.err = refuse(hostKVInvalidValue, "the value is no data")
	}
	if len(encoded) > picloud.MaxKVValue {
		a.err = refuse(hostKVTooLarge, "the value has %d bytes, more than %d", len(encoded), picloud.MaxKVValue)
	}
	return encoded
}

// depth is how deep a value is nested, as far as it matters.
func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			deepest = max(deepest, depth(item))
		}
	case map[string]any:
		for _, item := range v {
			deepest = max(deepest, depth(item))
		}
	default:
		return 0
	}
	return deepest + 1
}

// ttl reads the argument that is a time to live.
func (a *arguments) ttl(i int) time.Duration {
	return time.Duration(a.integer(i, "ttl", 0, picloud.MaxKVTTL.Milliseconds())) * time.Millisecond
}

// kvGet is kv.get [key] → nil | {value, version}.
func (h *host) kvGet(ctx context.Context, g *grants, call *executor.HostCall) (any, error) {
	a := argumentsOf(call, 1)
	key := a.key(0)
	if a.err != nil {
		return nil, a.err
	}
	store, err := h.keys(g)
	if err != nil {
		return nil, err
	}
	entry, found, err := store.Get(ctx, key)
	if err != nil || !found {
		return nil, kvError(ctx, err)
	}
	value, err := wire.Unmarshal(entry.Value)
	if err != nil {
		return nil, err
	}
	return map[string]any{"value": value, "version": entry.Version}, nil
}

// kvSet is kv.set [key, value, ttl] → version.
func (h *host) kvSet(ctx context.Context, g *grants, call *executor.HostCall) (any, error) {
	a := argumentsOf(call, 3)
	key, value, ttl := a.key(0), a.value(1), a.ttl(2)
	if a.err != nil {
		return nil, a.err
	}
	store, err := h.keys(g)
	if err != nil {
		return nil, err
	}
	version, err := store.Set(ctx, key, value, ttl)
	return version, kvError(ctx, err)
}

// kvCAS is kv.cas [key, version, value, ttl] → version, 0 when the key has
// another.
func (h *host) kvCAS(ctx context.Context, g *grants, call *executor.HostCall) (any, error) {
	a := argumentsOf(call, 4)
	key, required, value, ttl := a.key(0), a.integer(1, "version", 0, math.MaxInt64), a.value(2), a.ttl(3)
	if a.err != nil {
		return nil, a.err
	}
	store, err := h.keys(g)
	if err != nil {
		return nil, err
	}
	version, err := store.CompareAndSet(ctx, key, required, value, ttl)
	return version, kvError(ctx, err)
}

// kvIncrement is kv.incr [key, by, ttl] → sum.
func (h *host) kvIncrement(ctx context.Context, g *grants, call *executor.HostCall) (any, error) {
	a := argumentsOf(call, 3)
	key, by, ttl := a.key(0), a.integer(1, "by", math.MinInt64, math.MaxInt64), a.ttl(2)
	if a.err != nil {
		return nil, a.err
	}
	store, err := h.keys(g)
	if err != nil {
		return nil, err
	}
	sum, err := store.Increment(ctx, key, by, ttl)
	return sum, kvError(ctx, err)
}

// kvDelete is kv.delete [key, version] → bool.
func (h *host) kvDelete(ctx context.Context, g *grants, call *executor.HostCall) (any, error) {
	a := argumentsOf(call, 2)
	key, version := a.key(0), a.integer(1, "version", 0, math.MaxInt64)
	if a.err != nil {
		return nil, a.err
	}
	store, err := h.keys(g)
	if err != nil {
		return nil, err
	}
	gone, err := store.Delete(ctx, key, version)
	return gone, kvError(ctx, err)
}

// kvList is kv.list [prefix, limit, cursor] → {items: [{key, value, version}], next}.
func (h *host) kvList(ctx context.Context, g *grants, call *executor.HostCall) (any, error) {
	a := argumentsOf(call, 3)
	prefix, limit, cursor := a.text(0, "prefix"), a.integer(1, "limit", 1, 1000), a.text(2, "cursor")
	if a.err != nil {
		return nil, a.err
	}
	store, err := h.keys(g)
	if err != nil {
		return nil, err
	}
	entries, next, err := store.List(ctx, prefix, int(limit), cursor)
	if err != nil {
		return nil, kvError(ctx, err)
	}
	items := make([]any, 0, len(entries))
	for _, e := range entries {
		value, err := wire.Unmarshal(e.Value)
		if err != nil {
			return nil, err
		}
		items = append(items, map[string]any{"key": e.Key, "value": value, "version": e.Version})
	}
	return map[string]any{"items": items, "next": next}, nil
}
