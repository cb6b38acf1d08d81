package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Secrets are the sealed values of apps. The database has no key that opens them. No
// read of this store returns a sealed value: nodes get them with the catalog.
type Secrets struct{ area }

const (
	// sealing adds a version, a nonce and a tag to a value; quotas are about
	// values.
	sealing = 1 + 24 + 16
	// The bounds of what may be sealed or wrapped; the tables have them too.
	maxSealed  = picloud.MaxSecretSize + 256
	maxWrapped = 256
)

const (
	sqlSecretList = `SELECT name, updated_by, updated_at FROM secret WHERE app = $1 ORDER BY name`

	sqlDataKeyGet = `SELECT data_key FROM app WHERE name = $1`

	sqlDataKeySet = `UPDATE app SET data_key = $2, rev = $3 WHERE name = $1 AND data_key IS NULL`

	// sqlSecretPut sets secret $2 of app $1 to $3, at revision $5, while the
	// app's data key is $6 and it stays within $7 secrets of $8 bytes. A sealed
	// value counts without the $9 bytes that sealing adds.
	sqlSecretPut = `
WITH facts AS (
    SELECT coalesce(app.data_key = $6::bytea, false) AS same_key, others.number, others.bytes
    FROM app, (SELECT count(*) AS number, coalesce(sum(octet_length(sealed) - $9), 0) AS bytes FROM secret WHERE app = $1 AND name <> $2) AS others
    WHERE app.name = $1
), verdict AS MATERIALIZED (
    SELECT CASE
        WHEN NOT same_key THEN 'other key'
        WHEN number >= $7 THEN 'too many'
        WHEN bytes + octet_length($3::bytea) - $9 > $8 THEN 'too large'
        ELSE 'ok' END AS word FROM facts
), done AS (
    INSERT INTO secret (app, name, sealed, updated_by) SELECT $1, $2, $3, $4 FROM verdict WHERE word = 'ok'
    ON CONFLICT (app, name) DO UPDATE SET sealed = excluded.sealed, updated_by = excluded.updated_by, updated_at = now()
), stamp AS (
    UPDATE app SET rev = $5 FROM verdict WHERE word = 'ok' AND app.name = $1
)
SELECT word FROM verdict`

	// sqlSecretDelete removes secret $2 of app $1, at revision $3.
	sqlSecretDelete = `
WITH gone AS (
    DELETE FROM secret WHERE app = $1 AND name = $2 RETURNING name
)
UPDATE app SET rev = $3 FROM gone WHERE app.name = $1`
)

// List returns the secrets of an app by name, at most MaxSecrets: everything
// but their values. Viewers may.
func (x Secrets) List(ctx context.Context, actor picloud.Actor, app string) ([]picloud.Secret, error) {
	s := postgres.About("list secrets", app)
	return postgres.Read(ctx, x.db, s, actor, app, func(row pgx.CollectableRow) (out picloud.Secret, err error) {
		err = row.Scan(&out.Name, &out.UpdatedBy, &out.UpdatedAt)
		return out, err
	}, sqlSecretList, app)
}

// DataKey returns the app's wrapped data key. If the app has none, fresh becomes it.
// Developers may.
func (x Secrets) DataKey(ctx context.Context, actor picloud.Actor, app string, fresh []byte) (wrapped []byte, err error) {
	s := postgres.About("get data key", app)
	if len(fresh) == 0 || len(fresh) > maxWrapped {
		return nil, s.Fail(picloud.CodeInvalid, fmt.Sprintf("the wrapped key has %d bytes, not 1 to %d", len(fresh), maxWrapped), "")
	}
	_, err = x.db.Change(ctx, s, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		if err := c.Tx.QueryRow(ctx, sqlDataKeyGet, app).Scan(&wrapped); err != nil || wrapped != nil {
			return err
		}
		if err := c.Bump(ctx); err != nil {
			return err
		}
		wrapped = fresh
		return c.Exec(ctx, sqlDataKeySet, app, fresh, c.Rev)
	})
	if err != nil {
		return nil, err
	}
	return wrapped, nil
}

// Put sets a secret to a value that was sealed with the data key in wrapped. It
// fails with CodeConflict when the app has another key now, and
// with CodeQuota when the app would have more than MaxSecrets secrets or
// MaxSecretsSize bytes of them. It returns the catalog's revision that has the
// secret. Developers may.
func (x Secrets) Put(ctx context.Context, actor picloud.Actor, app, name string, sealed, wrapped []byte) (rev int64, err error) {
	s := postgres.About("set secret", postgres.Resource(app, name))
	if err := picloud.CheckVariable("name", name); err != nil {
		return 0, err
	}
	if len(sealed) == 0 {
		return 0, s.Fail(picloud.CodeInvalid, "the secret is not sealed", "")
	}
	if len(sealed) > maxSealed {
		return 0, s.Fail(picloud.CodeTooLarge, fmt.Sprintf("a secret has at most %s", picloud.Size(picloud.MaxSecretSize)), "")
	}
	return x.db.Change(ctx, s, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		if err := c.Bump(ctx); err != nil {
			return err
		}
		var word string
		err := c.Tx.QueryRow(ctx, sqlSecretPut, app, name, sealed, actor.User, c.Rev, wrapped,
			picloud.MaxSecrets, picloud.MaxSecretsSize, sealing).Scan(&word)
		if err != nil {
			return err
		}
		switch word {
		case "other key":
			return s.Fail(picloud.CodeConflict, "the app has another data key by now", "repeat the change")
		case "too many":
			return s.Fail(picloud.CodeQuota, fmt.Sprintf("an app has at most %d secrets", picloud.MaxSecrets), "delete some that are no longer used")
		case "too large":
			return s.Fail(picloud.CodeQuota, fmt.Sprintf("the secrets of an app have at most %s together", picloud.Size(picloud.MaxSecretsSize)), "delete some that are no longer used")
		}
		return nil
	})
}

// Delete removes a secret. It returns the catalog's revision without it.
// Developers may.
func (x Secrets) Delete(ctx context.Context, actor picloud.Actor, app, name string) (rev int64, err error) {
	s := postgres.About("delete secret", postgres.Resource(app, name))
	if !picloud.ValidVariable(name) {
		return 0, s.NotFound()
	}
	return x.db.Change(ctx, s, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		if err := c.Bump(ctx); err != nil {
			return err
		}
		tag, err := c.Tx.Exec(ctx, sqlSecretDelete, app, name, c.Rev)
		if err == nil && tag.RowsAffected() == 0 {
			return s.NotFound()
		}
		return err
	})
}
