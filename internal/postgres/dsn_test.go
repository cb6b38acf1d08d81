package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/postgres"
)

// TestADSNForAnotherRole: the DSN leads to the same database, and has nothing of the first
// role's password.
func TestADSNForAnotherRole(t *testing.T) {
	for _, dsn := range []string{
		"postgres://boss:swordfish@db.lan:5433/pi?sslmode=disable&search_path=apps&passfile=/swordfish",
		"postgresql://db.lan:5433/pi?user=boss&password=swordfish&sslmode=disable&search_path=apps",
		"host=db.lan port=5433 dbname=pi user=boss password=swordfish sslmode=disable search_path=apps",
		`  password = 'sword\'fish swordfish'  host='db.lan' port=5433 dbname = 'pi' sslmode=disable user=boss search_path='apps'  `,
	} {
		made, err := postgres.DSNOf(dsn, "picloud_n_0123456789ab", `it's \ @:/?#`)
		require.NoError(t, err, dsn)
		require.NotContains(t, made, "fish", dsn)
		require.NotContains(t, made, "boss", dsn)
		conf, err := pgxpool.ParseConfig(made)
		require.NoError(t, err, dsn)
		c := conf.ConnConfig
		require.Equal(t, []any{"db.lan", uint16(5433), "pi", "picloud_n_0123456789ab", `it's \ @:/?#`, "apps"},
			[]any{c.Host, c.Port, c.Database, c.User, c.Password, c.RuntimeParams["search_path"]}, dsn)
	}
	_, err := postgres.DSNOf("no dsn", "role", "password")
	require.Error(t, err)
}
