package catalog_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/catalog"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/seal"
	"github.com/picloud/picloud/internal/testdb"
	"github.com/picloud/picloud/migrations"
)

// config is what nodes have of an app.
func config(t testing.TB, db *store.DB, app string) picloud.AppConfig {
	t.Helper()
	d, err := db.Catalog().Delta(t.Context(), "", "", 0)
	require.NoError(t, err)
	for _, a := range d.Apps {
		if a.App == app {
			return a
		}
	}
	return picloud.AppConfig{}
}

func TestAppSettings(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	made, _, err := db.Apps().Get(t.Context(), root, "blog")
	require.NoError(t, err)
	require.Equal(t, testdb.Head(t, db), made.Rev)
	settings := picloud.AppSettings{Limits: picloud.Limits{Timeout: picloud.Duration(time.Minute)}, KV: picloud.KVQuota{Keys: 7, Bytes: 1 << 20}}
	for role, code := range map[picloud.Role]picloud.Code{"": picloud.CodeNotFound, viewer: picloud.CodeForbidden, developer: picloud.CodeForbidden} {
		_, err := db.Apps().UpdateSettings(t.Context(), people[role], "blog", settings, 0)
		testdb.RequireCode(t, code, err)
	}
	changed, err := db.Apps().UpdateSettings(t.Context(), people[admin], "blog", settings, picloud.MatchVersion(made.Rev))
	require.NoError(t, err)
	require.Equal(t, picloud.App{Name: "blog", Settings: settings, Rev: made.Rev + 1, CreatedAt: made.CreatedAt}, changed)
	testdb.Unchanged(t, db, func() {
		_, err = db.Apps().UpdateSettings(t.Context(), people[admin], "blog", picloud.AppSettings{}, picloud.MatchVersion(made.Rev))
		testdb.RequireCode(t, picloud.CodePrecondition, err)
		_, err = db.Apps().UpdateSettings(t.Context(), people[admin], "blog", settings, picloud.MatchVersion(made.Rev))
		testdb.RequireCode(t, picloud.CodePrecondition, err)
		_, err = db.Apps().UpdateSettings(t.Context(), people[admin], "blog", picloud.AppSettings{KV: picloud.KVQuota{Keys: -1}}, 0)
		testdb.RequireCode(t, picloud.CodeInvalid, err)
		same, err := db.Apps().UpdateSettings(t.Context(), people[admin], "blog", settings, picloud.MatchVersion(changed.Rev))
		require.NoError(t, err)
		require.Equal(t, changed, same)
	})
	got, _, err := db.Apps().Get(t.Context(), people[viewer], "blog")
	require.NoError(t, err)
	require.Equal(t, changed, got)
	list, _, err := db.Apps().List(t.Context(), people[viewer], picloud.Page{})
	require.NoError(t, err)
	require.Equal(t, []picloud.App{changed}, list)
	require.Equal(t, picloud.AppConfig{App: "blog", Settings: settings, Rev: changed.Rev}, config(t, db, "blog"))
	_, err = db.Apps().UpdateSettings(t.Context(), root, "nope", settings, 0)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
}

func TestVariables(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	none, rev, err := db.Env().Get(t.Context(), people[viewer], "blog")
	require.NoError(t, err)
	require.Empty(t, none)
	require.Equal(t, testdb.Head(t, db), rev)
	env := picloud.Env{"HOST": "example.org", "TEXT": "ä\x01\"\\\u2028<&>", "EMPTY": ""}
	_, err = db.Env().Replace(t.Context(), people[viewer], "blog", env, 0)
	testdb.RequireCode(t, picloud.CodeForbidden, err)
	_, err = db.Env().Replace(t.Context(), people[""], "blog", env, 0)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, _, err = db.Env().Get(t.Context(), people[""], "blog")
	testdb.RequireCode(t, picloud.CodeNotFound, err)

	next, err := db.Env().Replace(t.Context(), people[developer], "blog", env, picloud.MatchVersion(rev))
	require.NoError(t, err)
	require.Equal(t, rev+1, next)
	got, at, err := db.Env().Get(t.Context(), people[viewer], "blog")
	require.NoError(t, err)
	require.Equal(t, env, got)
	require.Equal(t, next, at)
	require.Equal(t, picloud.AppConfig{App: "blog", Env: env, Rev: next}, config(t, db, "blog"))
	testdb.Unchanged(t, db, func() {
		same, err := db.Env().Replace(t.Context(), people[developer], "blog", env, 0)
		require.NoError(t, err)
		require.Equal(t, next, same)
		_, err = db.Env().Replace(t.Context(), people[developer], "blog", nil, picloud.MatchVersion(rev))
		testdb.RequireCode(t, picloud.CodePrecondition, err)
		for _, bad := range []picloud.Env{{"1": ""}, {"A": "\x00"}, {"A": "\xff"}, {"A": strings.Repeat("x", picloud.MaxEnvSize)}} {
			_, err = db.Env().Replace(t.Context(), people[developer], "blog", bad, 0)
			testdb.RequireCode(t, picloud.CodeInvalid, err)
		}
	})
	_, err = db.Env().Replace(t.Context(), people[developer], "blog", nil, picloud.MatchVersion(next))
	require.NoError(t, err)
	require.Nil(t, config(t, db, "blog").Env)

	// The largest that can be fits, though each byte becomes six.
	most := picloud.Env{"A": strings.Repeat("\x01", picloud.MaxEnvSize-1)}
	_, err = db.Env().Replace(t.Context(), people[developer], "blog", most, 0)
	require.NoError(t, err)
	_, err = db.Functions().Create(t.Context(), root, "blog", "hello", picloud.Settings{Env: most})
	require.NoError(t, err)
}

func TestSecrets(t *testing.T) {
	require.Equal(t, seal.Overhead, catalog.Sealing)
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	key := func(actor picloud.Actor, fresh string) ([]byte, error) {
		return db.Secrets().DataKey(t.Context(), actor, "blog", []byte(fresh))
	}
	for role, code := range map[picloud.Role]picloud.Code{"": picloud.CodeNotFound, viewer: picloud.CodeForbidden} {
		_, err := key(people[role], "one")
		testdb.RequireCode(t, code, err)
		testdb.RequireCode(t, code, testdb.ErrorOf(db.Secrets().Put(t.Context(), people[role], "blog", "TOKEN", []byte("sealed"), []byte("one"))))
		testdb.RequireCode(t, code, testdb.ErrorOf(db.Secrets().Delete(t.Context(), people[role], "blog", "TOKEN")))
	}
	testdb.RequireCode(t, picloud.CodeConflict, testdb.ErrorOf(db.Secrets().Put(t.Context(), root, "blog", "TOKEN", []byte("sealed"), nil)))
	_, err := key(people[developer], "")
	testdb.RequireCode(t, picloud.CodeInvalid, err)
	_, err = key(people[developer], strings.Repeat("k", 257))
	testdb.RequireCode(t, picloud.CodeInvalid, err)
	one, err := key(people[developer], "one")
	require.NoError(t, err)
	require.Equal(t, "one", string(one))
	testdb.Unchanged(t, db, func() {
		two, err := key(people[developer], "two")
		require.NoError(t, err)
		require.Equal(t, "one", string(two), "the key that others sealed with stays")
	})

	put := func(name, sealed string) error {
		before := testdb.Head(t, db)
		rev, err := db.Secrets().Put(t.Context(), people[developer], "blog", name, []byte(sealed), one)
		if err == nil {
			require.Equal(t, before+1, rev)
			require.Equal(t, rev, testdb.Head(t, db))
		} else {
			require.Zero(t, rev)
		}
		return err
	}
	require.NoError(t, put("TOKEN", "first"))
	require.NoError(t, put("TOKEN", "second"))
	require.NoError(t, put("ANOTHER", "third"))
	testdb.Unchanged(t, db, func() {
		testdb.RequireCode(t, picloud.CodeConflict, testdb.ErrorOf(db.Secrets().Put(t.Context(), people[developer], "blog", "TOKEN", []byte("x"), []byte("two"))))
		testdb.RequireCode(t, picloud.CodeConflict, testdb.ErrorOf(db.Secrets().Put(t.Context(), people[developer], "blog", "TOKEN", []byte("x"), nil)))
		testdb.RequireCode(t, picloud.CodeInvalid, put("no name", "x"))
		testdb.RequireCode(t, picloud.CodeInvalid, put("TOKEN", ""))
		testdb.RequireCode(t, picloud.CodeTooLarge, put("TOKEN", strings.Repeat("x", picloud.MaxSecretSize+257)))
		testdb.RequireCode(t, picloud.CodeNotFound, testdb.ErrorOf(db.Secrets().Delete(t.Context(), people[developer], "blog", "NOPE")))
		testdb.RequireCode(t, picloud.CodeNotFound, testdb.ErrorOf(db.Secrets().Delete(t.Context(), people[developer], "blog", "no name")))
	})
	list, err := db.Secrets().List(t.Context(), people[viewer], "blog")
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, []string{"ANOTHER", "TOKEN"}, []string{list[0].Name, list[1].Name})
	require.Equal(t, people[developer].User, list[1].UpdatedBy)
	require.WithinDuration(t, time.Now(), list[1].UpdatedAt, time.Minute)
	_, err = db.Secrets().List(t.Context(), people[""], "blog")
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	require.Equal(t, picloud.AppConfig{
		App: "blog", Key: one, Rev: testdb.Head(t, db),
		Secrets: map[string][]byte{"TOKEN": []byte("second"), "ANOTHER": []byte("third")},
	}, config(t, db, "blog"))

	before := testdb.Head(t, db)
	rev, err := db.Secrets().Delete(t.Context(), people[developer], "blog", "TOKEN")
	require.NoError(t, err)
	require.Equal(t, before+1, rev)
	require.Equal(t, rev, testdb.Head(t, db))
	require.Equal(t, map[string][]byte{"ANOTHER": []byte("third")}, config(t, db, "blog").Secrets)

	// An app that comes back has nothing of what it was.
	require.NoError(t, testdb.ErrorOf(db.Apps().Delete(t.Context(), root, "blog")))
	testdb.App(t, db, "blog")
	require.Equal(t, picloud.AppConfig{App: "blog", Rev: testdb.Head(t, db)}, config(t, db, "blog"))
}

func TestSecretsHaveAQuota(t *testing.T) {
	db := testdb.NewWithRoot(t)
	testdb.App(t, db, "blog")
	key, err := db.Secrets().DataKey(t.Context(), root, "blog", []byte("key"))
	require.NoError(t, err)
	put := func(name string, size int) error {
		return testdb.ErrorOf(db.Secrets().Put(t.Context(), root, "blog", name, bytes.Repeat([]byte{1}, size+seal.Overhead), key))
	}
	for i := range picloud.MaxSecretsSize / picloud.MaxSecretSize {
		require.NoError(t, put(fmt.Sprintf("BIG%d", i), picloud.MaxSecretSize))
	}
	testdb.RequireCode(t, picloud.CodeQuota, put("SMALL", 1))
	require.NoError(t, put("EMPTY", 0))
	require.NoError(t, put("BIG1", picloud.MaxSecretSize-1))
	require.NoError(t, put("SMALL", 1))
	testdb.RequireCode(t, picloud.CodeQuota, put("BIG1", picloud.MaxSecretSize))

	testdb.App(t, db, "shop")
	_, err = db.Secrets().DataKey(t.Context(), root, "shop", key)
	require.NoError(t, err)
	var wg sync.WaitGroup
	errs := make([]error, picloud.MaxSecrets+5)
	for i := range errs {
		wg.Go(func() {
			errs[i] = testdb.ErrorOf(db.Secrets().Put(t.Context(), root, "shop", fmt.Sprintf("S%d", i), make([]byte, seal.Overhead+1), key))
		})
	}
	wg.Wait()
	refused := 0
	for _, err := range errs {
		if err != nil {
			testdb.RequireCode(t, picloud.CodeQuota, err)
			refused++
		}
	}
	require.Equal(t, 5, refused)
	list, err := db.Secrets().List(t.Context(), root, "shop")
	require.NoError(t, err)
	require.Len(t, list, picloud.MaxSecrets)
}

// An app of the first schema is news to nodes that have all of it.
func TestAppsOfTheFirstSchema(t *testing.T) {
	dsn := testdb.DSN(t)
	conn := testdb.Connect(t, dsn)
	all, err := migrations.All()
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), all[0].SQL+`
INSERT INTO app (name) VALUES ('blog'), ('shop');
UPDATE catalog_head SET rev = 7;
CREATE TABLE schema_version (version int4 NOT NULL);
INSERT INTO schema_version VALUES (1);
CREATE TABLE migration (number integer PRIMARY KEY, name text NOT NULL, min_binary integer NOT NULL, by text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());
INSERT INTO migration (number, name, min_binary, by) VALUES (1, '0001_init.sql', 1, 'v0.1.0')`)
	require.NoError(t, err)
	db := testdb.OpenWithRoot(t, dsn)
	d, err := db.Catalog().Delta(t.Context(), "", testdb.Incarnation(t, db), 7)
	require.NoError(t, err)
	require.False(t, d.Full)
	require.Equal(t, []picloud.AppConfig{{App: "blog", Rev: 8}, {App: "shop", Rev: 8}}, d.Apps)
	_, err = db.Apps().UpdateSettings(t.Context(), root, "blog", picloud.AppSettings{KV: picloud.KVQuota{Keys: 1}}, 8)
	require.NoError(t, err)
}
