package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Env are the variables of apps.
type Env struct{ area }

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
	if err := postgres.ReadJSON("variables", text, &env); err != nil || len(env) == 0 {
		return nil, err
	}
	return env, nil
}

// Get returns the variables of an app and the app's revision. Viewers may.
func (e Env) Get(ctx context.Context, actor picloud.Actor, app string) (env picloud.Env, rev int64, err error) {
	s := postgres.About("get variables", app)
	v, err := postgres.One(ctx, e.db, s, actor, app, envRow, sqlEnvGet, app)
	return v.env, v.rev, err
}

// Replace replaces all variables of an app when the app's revision is the
// one of match; else it fails with ErrPrecondition. It returns the app's
// revision, which stays when nothing changes. Developers may.
func (e Env) Replace(ctx context.Context, actor picloud.Actor, app string, env picloud.Env, match picloud.Match) (rev int64, err error) {
	s := postgres.About("change variables", app)
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
	_, err = e.db.Change(ctx, s, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		present, err := postgres.QueryOne(ctx, c.Tx, envRow, sqlEnvGet, app)
		rev = present.rev
		switch {
		case err != nil:
			return err
		case !match.Accepts(present.rev):
			return s.Precondition()
		case maps.Equal(present.env, env):
			return nil
		}
		if err := c.Bump(ctx); err != nil {
			return err
		}
		rev = c.Rev
		return c.Exec(ctx, sqlEnvReplace, app, text, c.Rev)
	})
	if err != nil {
		return 0, err
	}
	return rev, nil
}
