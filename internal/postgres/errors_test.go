package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/testdb"
)

func TestWhatTheServerSaysBecomesACode(t *testing.T) {
	for state, code := range map[string]picloud.Code{
		"57P01": picloud.CodeDatabaseDown, // admin_shutdown
		"57P02": picloud.CodeDatabaseDown, // crash_shutdown
		"57P03": picloud.CodeDatabaseDown, // cannot_connect_now: it starts, or stops
		"57014": picloud.CodeDatabaseDown, // statement_timeout
		"53300": picloud.CodeDatabaseDown, // too_many_connections
		"53100": picloud.CodeDatabaseDown, // disk_full
		"53200": picloud.CodeDatabaseDown, // out_of_memory
		"08006": picloud.CodeDatabaseDown, // connection_failure
		"55P03": picloud.CodeDatabaseDown, // lock_timeout
		"40P01": picloud.CodeDatabaseDown, // deadlock_detected
		"25006": picloud.CodeDatabaseDown, // read_only_sql_transaction
		"28P01": picloud.CodeDatabaseDown, // invalid_password
		"3D000": picloud.CodeDatabaseDown, // no such database
		"42501": picloud.CodeDatabaseDown, // insufficient_privilege
		"42P01": picloud.CodeDatabaseDown, // undefined_table
		"58030": picloud.CodeDatabaseDown, // io_error
		"23505": picloud.CodeExists,
		"23503": picloud.CodeConflict,
		"23514": picloud.CodeInvalid,
		"22021": picloud.CodeInvalid,
		"42601": picloud.CodeInternal, // a bug of ours
		"XX000": picloud.CodeInternal,
		"":      picloud.CodeInternal,
	} {
		err := postgres.Explained(fmt.Errorf("query: %w", &pgconn.PgError{Code: state, Message: "said so"}))
		require.Equal(t, code, picloud.CodeOf(err), state)
		var e *picloud.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, code == picloud.CodeDatabaseDown, e.RetryAfter > 0, state)
		require.ErrorContains(t, err, "do it")
	}
}

func TestWhatTheDriverSaysBecomesACode(t *testing.T) {
	for _, err := range []error{
		context.DeadlineExceeded, context.Canceled, pgconn.ErrConnClosed, &net.OpError{Op: "read", Err: io.EOF},
		fmt.Errorf("receive message: %w", io.ErrUnexpectedEOF), errors.New("write failed: broken pipe"), errors.New("closed pool"),
	} {
		testdb.RequireDown(t, postgres.Explained(err))
	}
	testdb.RequireCode(t, picloud.CodeNotFound, postgres.Explained(pgx.ErrNoRows))
	testdb.RequireCode(t, picloud.CodeInternal, postgres.Explained(errors.New("cannot scan text into int")))
	require.NoError(t, postgres.Explained(nil))
	known := &picloud.Error{Code: picloud.CodeExists}
	require.Same(t, known, postgres.Explained(known))
}
