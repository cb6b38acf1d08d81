package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// Env are the variables of apps.
type Env struct{ db *DB }

// Env returns the store of variables.
func (d *DB) Env() Env { return Env{d} }

const (
	sqlEnvGet = `SELECT env, rev FROM app WHERE name = $1`

	sqlEnvReplace = `UPDATE app SET env = $2, rev = $3 WHERE name = $1`
)

// variables are an app's, at a revision of the app.
type variables struct {
	env picloud.Env
	rev int64
}

func envRow(row pgx.CollectableRow) (v variables, err error) {
	var text []byte
	if err := row.Scan(&text, &v.rev); err != nil {
		return v, err
	}
	v.env, err = readEnv(text)
	return v, err
}

// readEnv reads variables; none is nil.
func readEnv(text []byte) (env picloud.Env, err error) {
	if err := readJSON("variables", text, &env); err != nil || len(env) == 0 {
		return nil, err
	}
	return env, nil
}

// Get returns the variables of an app and the app's revision. Viewers may.
func (e Env) Get(ctx context.Context, actor picloud.Actor, app string) (env picloud.Env, rev int64, err error) {
	s := subject{"get variables", app}
	v, err := one(ctx, e.db, s, actor, app, envRow, sqlEnvGet, app)
	return v.env, v.rev, err
}

// Replace replaces all variables of an app when the app's revision is ifRev, 0
// standing for any; else it fails with ErrPrecondition. It returns the app's
// revision, which stays when nothing changes. Developers may.
func (e Env) Replace(ctx context.Context, actor picloud.Actor, app string, env picloud.Env, ifRev int64) (rev int64, err error) {
	s := subject{"change variables", app}
	if err := env.Check(); err != nil {
		return 0, err
	}
	if env == nil {
		env = picloud.Env{}
	}
	text, err := json.Marshal(env)
	if err != nil {
		return 0, fmt.Errorf("write variables: %w", err)
	}
	_, err = e.db.change(ctx, s, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *change) error {
		present, err := queryOne(ctx, c.tx, envRow, sqlEnvGet, app)
		rev = present.rev
		switch {
		case err != nil:
			return err
		case ifRev != 0 && present.rev != ifRev:
			return precondition(s)
		case maps.Equal(present.env, env):
			return nil
		}
		if err := c.bump(ctx); err != nil {
			return err
		}
		rev = c.rev
		return c.exec(ctx, sqlEnvReplace, app, text, c.rev)
	})
	if err != nil {
		return 0, err
	}
	return rev, nil
}
