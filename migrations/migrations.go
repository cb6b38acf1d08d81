// Package migrations holds the schema of the database as numbered SQL files,
// and brings a database up to the newest of them.
//
// Each file begins with "-- min_binary: N": after it, the database can be used
// by binaries whose newest migration is at least N. A migration that only adds
// things keeps the N before it; one that an older binary would stumble over
// sets its own number. The database records it, so that a binary that is too
// old leaves the database alone.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/tern/v2/migrate"
)

//go:embed *.sql
var files embed.FS

// NewerError says that a database needs a newer binary than this one.
type NewerError struct {
	Level     int    // the newest migration that this binary knows
	MinBinary int    // what the database asks for
	Version   int    // the newest migration of the database
	By        string // the version of PiCloud that applied it
}

// Error implements error.
func (e *NewerError) Error() string {
	return fmt.Sprintf("the database is at migration %d, applied by PiCloud %s, and needs a binary that knows migration %d; this one knows %d",
		e.Version, e.By, e.MinBinary, e.Level)
}

// Migration is one numbered file.
type Migration struct {
	Number    int
	Name      string // the file's name
	SQL       string
	MinBinary int // the level a binary needs after it
}

var header = regexp.MustCompile(`\A-- min_binary: (\d+)\n`)

// All returns the migrations in order.
func All() ([]Migration, error) { return load(files) }

func load(from fs.FS) ([]Migration, error) {
	names, err := migrate.FindMigrations(from)
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	all := make([]Migration, len(names))
	for i, name := range names {
		text, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, fmt.Errorf("read migration %q: %w", name, err)
		}
		m := header.FindSubmatch(text)
		if m == nil {
			return nil, fmt.Errorf("migration %q does not begin with \"-- min_binary: N\"", name)
		}
		low, err := strconv.Atoi(string(m[1]))
		if err != nil || low < 1 || low > i+1 || i > 0 && low < all[i-1].MinBinary {
			return nil, fmt.Errorf("migration %q: min_binary is neither its own number nor the one before it", name)
		}
		all[i] = Migration{Number: i + 1, Name: name, SQL: string(text), MinBinary: low}
	}
	return all, nil
}

// sqlState reads what the database records about itself.
const sqlState = `SELECT number, by, (SELECT max(min_binary) FROM migration) FROM migration ORDER BY number DESC LIMIT 1`

// sqlLog makes the table that records migrations.
const sqlLog = `
CREATE TABLE IF NOT EXISTS migration (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    min_binary integer     NOT NULL,
    by         text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
`

// Check compares the database with a binary of the given level and returns the
// database's newest migration, 0 when it has none. It returns a *NewerError
// when the binary is too old for the database.
func Check(ctx context.Context, conn *pgx.Conn, level int) (int, error) {
	e := NewerError{Level: level}
	err := conn.QueryRow(ctx, sqlState).Scan(&e.Version, &e.By, &e.MinBinary)
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows), errors.As(err, &pg) && pg.Code == "42P01": // no such table
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read migration level: %w", err)
	case e.MinBinary > level:
		return e.Version, &e
	}
	return e.Version, nil
}

// Level returns the number of the newest migration that this binary knows.
func Level() int {
	all, err := All()
	if err != nil {
		return 0 // the package's test makes this impossible in a build
	}
	return len(all)
}

// Up applies what is missing to the schema that conn's search_path begins
// with. Several may call it at once; by is the version of PiCloud to record.
func Up(ctx context.Context, conn *pgx.Conn, by string) error {
	all, err := All()
	if err != nil {
		return err
	}
	return up(ctx, conn, by, all)
}

func up(ctx context.Context, conn *pgx.Conn, by string, all []Migration) error {
	if version, err := Check(ctx, conn, len(all)); err != nil || version >= len(all) {
		return err
	}
	table, err := versionTable(ctx, conn)
	if err != nil {
		return err
	}
	m, err := migrate.NewMigrator(ctx, conn, table)
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	for _, x := range all {
		record := fmt.Sprintf("\nINSERT INTO migration (number, name, min_binary, by) VALUES (%d, %s, %d, %s);\n",
			x.Number, literal(x.Name), x.MinBinary, literal(by))
		m.AppendMigration(x.Name, sqlLog+x.SQL+record, "")
	}
	if err := m.Migrate(ctx); err != nil {
		// Somebody newer may have migrated past us while we waited for the lock.
		if version, guard := Check(ctx, conn, len(all)); guard != nil || version > len(all) {
			return guard
		}
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// versionTable names tern's table with its schema, so that a table of the same
// name further down the search_path is never taken for ours.
func versionTable(ctx context.Context, conn *pgx.Conn) (string, error) {
	var schema *string
	if err := conn.QueryRow(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
		return "", fmt.Errorf("find schema: %w", err)
	}
	if schema == nil {
		return "", errors.New("no schema of the search_path exists: create it, or leave search_path alone")
	}
	if !plainName.MatchString(*schema) {
		return "", fmt.Errorf("schema %q has a name other than lower-case letters, digits and underscores", *schema)
	}
	return *schema + ".schema_version", nil
}

func literal(s string) string {
	quoted := make([]byte, 0, len(s)+2)
	quoted = append(quoted, '\'')
	for i := range len(s) {
		switch c := s[i]; c {
		case '\'':
			quoted = append(quoted, c, c)
		case 0, '\\':
		default:
			quoted = append(quoted, c)
		}
	}
	return string(append(quoted, '\''))
}
