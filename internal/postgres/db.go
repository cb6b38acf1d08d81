package postgres

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/migrations"
)

// DB is the database. It connects at its first use, so the server need not run
// before that.
type DB struct {
	api       *pgxpool.Pool // the control API
	node      *pgxpool.Pool // the node's own duties: a busy API must not starve them
	functions *pgxpool.Pool // for functions, which must not starve API or node
	conf      *pgx.ConnConfig
	by        string
	log       *slog.Logger
}

// ErrNewerDatabase says that a newer PiCloud migrated the database past what
// this binary can work with. The binary leaves it alone.
var ErrNewerDatabase = errors.New("the database belongs to a newer PiCloud")

// Open prepares the pools. It fails only on options that cannot be right.
func Open(o Options) (*DB, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	conf, err := o.config()
	if err != nil {
		return nil, err
	}
	d := &DB{
		conf: conf.ConnConfig.Copy(),
		by:   cmp.Or(o.Version, "unknown"),
		log:  cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
	}
	conf.MaxConns = int32(cmp.Or(o.MaxConns, defaultMaxConns))
	if d.api, err = pgxpool.NewWithConfig(context.Background(), conf); err != nil {
		return nil, picloudError("open database", "", err)
	}
	conf = conf.Copy()
	conf.MaxConns = nodeConns
	if d.node, err = pgxpool.NewWithConfig(context.Background(), conf); err != nil {
		d.api.Close()
		return nil, picloudError("open database", "", err)
	}
	if err := d.openFunctions(o); err != nil {
		d.api.Close()
		d.node.Close()
		return nil, err
	}
	return d, nil
}

// openFunctions prepares the pool of functions, whose waits are short.
func (d *DB) openFunctions(o Options) error {
	if o.StatementTimeout <= 0 || o.StatementTimeout > functionStatements {
		o.StatementTimeout = functionStatements
	}
	conf, err := o.config()
	if err != nil {
		return err
	}
	conf.MaxConns = functionConns
	conf.ConnConfig.ConnectTimeout = min(conf.ConnConfig.ConnectTimeout, functionWait)
	if d.functions, err = pgxpool.NewWithConfig(context.Background(), conf); err != nil {
		return picloudError("open database", "", err)
	}
	return nil
}

// Close closes all connections. It waits for running operations, which have
// deadlines of their own.
func (d *DB) Close() {
	d.api.Close()
	d.node.Close()
	d.functions.Close()
}

// API is the pool of the control API.
func (d *DB) API() *pgxpool.Pool { return d.api }

// Duties is the pool of the node's own duties.
func (d *DB) Duties() *pgxpool.Pool { return d.node }

// Ping asks the server for a sign of life.
func (d *DB) Ping(ctx context.Context) error {
	return d.Run(ctx, d.node, About("reach database", ""), d.node.Ping)
}

// Migrate brings the schema up to the version that this binary knows.
// ErrNewerDatabase says that the binary is too old for the database; Migrate then
// changes nothing.
func (d *DB) Migrate(ctx context.Context) error {
	s := About("migrate database", "")
	conf := d.conf.Copy()
	// Migrations may take their time, and wait for those of another node.
	conf.RuntimeParams["statement_timeout"] = milliseconds(10 * time.Minute)
	conf.RuntimeParams["lock_timeout"] = milliseconds(10 * time.Minute)
	conn, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return s.Wrap(err)
	}
	defer closeConn(conn)
	return s.Wrap(migrations.Up(ctx, conn, d.by))
}

// closeConn ends a connection within a second.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the socket is closed in any case
}

// newer explains a database that is ahead of the binary.
func newer(s Subject, e *migrations.NewerError) error {
	return &picloud.Error{
		Code: picloud.CodeDatabaseDown, Op: s.Op, Resource: s.Resource,
		Detail: e.Error(),
		Hint:   "upgrade this node to PiCloud " + e.By + " or newer; until then it serves from its disk copy",
		Err:    ErrNewerDatabase,
	}
}
