package keys

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Get returns an entry of an app. Developers may.
func (x KV) Get(ctx context.Context, actor picloud.Actor, app, key string) (picloud.KVEntry, error) {
	k, err := kvOf("get key", app, key, picloud.KVQuota{})
	if err != nil {
		return picloud.KVEntry{}, err
	}
	items, err := postgres.ReadAs(ctx, x.db, k.Subject, actor, app, picloud.RoleDeveloper, entryRow, sqlKVGet, app, key)
	if err == nil && len(items) == 0 {
		err = k.NotFound()
	}
	if err != nil {
		return picloud.KVEntry{}, err
	}
	return items[0], nil
}

// Put sets a key while it has the version of match; otherwise it fails with
// ErrPrecondition. It ignores e.Version and returns the new version. The time to
// live is the time from now, on this node's clock, to e.ExpiresAt; the database
// counts it on its own clock. The other errors are those of Store.Set. Developers
// may.
func (x KV) Put(ctx context.Context, actor picloud.Actor, app string, e picloud.KVEntry, match picloud.Match) (version int64, err error) {
	k, err := kvOf("set key", app, e.Key, picloud.KVQuota{})
	if err != nil {
		return 0, err
	}
	var ttl time.Duration
	if !e.ExpiresAt.IsZero() {
		if ttl = time.Until(e.ExpiresAt); ttl == 0 {
			ttl = -1 // would be for ever
		}
	}
	if err := k.checkTTL(ttl); err != nil {
		return 0, err
	}
	err = k.makeRoom(ctx, x.db.API(), func() error {
		version, err = x.put(ctx, actor, k, e, match, ttl)
		return err
	})
	return version, err
}

func (x KV) put(ctx context.Context, actor picloud.Actor, k kvKey, e picloud.KVEntry, match picloud.Match, ttl time.Duration) (version int64, err error) {
	err = x.db.Act(ctx, k.Subject, actor, k.app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		settings, err := postgres.QueryOne(ctx, c.Tx, settingsRow, sqlKVQuota, k.app)
		if err != nil {
			return err
		}
		k.quota = settings.KV.WithDefaults()
		if version, err = k.put(ctx, c.Tx, e.Value, match, ttl); err == nil && version == 0 {
			err = k.Precondition()
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

func settingsRow(row pgx.CollectableRow) (s picloud.AppSettings, err error) {
	var text []byte
	if err := row.Scan(&text); err != nil {
		return s, err
	}
	return s, postgres.ReadJSON("settings of an app", text, &s)
}

// Delete removes a key that has the version of match; else it fails with ErrPrecondition. Developers may.
func (x KV) Delete(ctx context.Context, actor picloud.Actor, app, key string, match picloud.Match) error {
	k, err := kvOf("delete key", app, key, picloud.KVQuota{})
	if err != nil {
		return err
	}
	missing := false
	err = x.db.Act(ctx, k.Subject, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		gone, changed, err := k.remove(ctx, c.Tx, match)
		if changed {
			return k.Precondition()
		}
		missing = !gone // an expired entry goes for good
		return err
	})
	if err == nil && missing {
		return k.NotFound()
	}
	return err
}

// List returns entries of an app by key, those that begin with the prefix. A
// page has at most 1 MiB, unless the first entry alone is larger. Developers
// may.
func (x KV) List(ctx context.Context, actor picloud.Actor, app, prefix string, page picloud.Page) (items []picloud.KVEntry, next string, err error) {
	p, err := pageOf("list keys", app, prefix, page.Cursor, page.Size())
	if err != nil {
		return nil, "", err
	}
	items, err = postgres.ReadAs(ctx, x.db, p.Subject, actor, app, picloud.RoleDeveloper, p.row, sqlKVList, p.args(app)...)
	if err != nil {
		return nil, "", err
	}
	items, next = p.cut(items)
	return items, next, nil
}
