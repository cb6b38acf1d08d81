package postgres_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
	"github.com/picloud/picloud/migrations"
)

func open(t *testing.T, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(postgres.Options{DSN: dsn, Version: "v0.1.0"})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

func TestManyNodesMigrateAtOnce(t *testing.T) {
	dsn := testdb.DSN(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		db := open(t, dsn)
		wg.Go(func() { errs[i] = db.Migrate(t.Context()) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	n, by := 0, ""
	require.NoError(t, testdb.Connect(t, dsn).QueryRow(t.Context(), `SELECT count(*), min(by) FROM migration`).Scan(&n, &by))
	require.Equal(t, migrations.Level(), n)
	require.Equal(t, "v0.1.0", by)
}

func TestABinaryThatIsTooOldLeavesTheDatabaseAlone(t *testing.T) {
	dsn := testdb.DSN(t)
	testdb.OpenWithRoot(t, dsn)
	conn := testdb.Connect(t, dsn)
	_, err := conn.Exec(t.Context(), `INSERT INTO migration (number, name, min_binary, by) VALUES (1000, '1000_later.sql', 1000, 'v9.1.0')`)
	require.NoError(t, err)

	old := open(t, dsn)
	err = old.Migrate(t.Context())
	require.ErrorIs(t, err, postgres.ErrNewerDatabase)
	testdb.RequireCode(t, picloud.CodeDatabaseDown, err)
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Hint, "v9.1.0")

	_, err = old.Apps().Create(t.Context(), root, "blog")
	require.ErrorIs(t, err, postgres.ErrNewerDatabase, "no connection is used for anything else either")
	require.ErrorIs(t, old.Ping(t.Context()), postgres.ErrNewerDatabase)
	var apps int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM app`).Scan(&apps))
	require.Zero(t, apps)
}

func TestABinaryThatIsALittleOlderWorksOn(t *testing.T) {
	dsn := testdb.DSN(t)
	testdb.OpenWithRoot(t, dsn)
	conn := testdb.Connect(t, dsn)
	_, err := conn.Exec(t.Context(), `INSERT INTO migration (number, name, min_binary, by) VALUES (1000, '1000_adds.sql', 1, 'v9.1.0');
		UPDATE schema_version SET version = 1000`)
	require.NoError(t, err)
	old := open(t, dsn)
	require.NoError(t, old.Migrate(t.Context()))
	_, err = old.Apps().Create(t.Context(), root, "blog")
	require.NoError(t, err)
}

func TestMigrationsNameWhatIsWrongWithTheSchema(t *testing.T) {
	dsn := testdb.DSN(t)
	conn := testdb.Connect(t, dsn)
	_, err := conn.Exec(t.Context(), `DO $$ BEGIN EXECUTE 'DROP SCHEMA ' || current_schema(); END $$`)
	require.NoError(t, err)
	db := open(t, dsn)
	require.ErrorContains(t, db.Migrate(t.Context()), "no schema of the search_path exists")
	_, err = conn.Exec(t.Context(), `DO $$ BEGIN EXECUTE 'CREATE SCHEMA ' || current_setting('search_path'); END $$`)
	require.NoError(t, err)
	_, _, err = db.Apps().Get(t.Context(), root, "blog")
	testdb.RequireCode(t, picloud.CodeDatabaseDown, err)
	require.ErrorContains(t, err, "not migrated yet")
	require.NoError(t, db.Migrate(t.Context()))
}

func TestNamesAreCheckedByTheDatabaseToo(t *testing.T) {
	dsn := testdb.DSN(t)
	testdb.OpenWithRoot(t, dsn)
	conn := testdb.Connect(t, dsn)
	for _, name := range []string{"", "A", "1a", "a_b", "a\n", "ä", "a" + string(make([]byte, 0)) + "-" + "0123456789012345678901234567890123456789012345678901234567890123"} {
		_, err := conn.Exec(t.Context(), `INSERT INTO app (name) VALUES ($1)`, name)
		require.ErrorContains(t, err, "app_name", "%q", name)
	}
}
