package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
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

	manages   func() int64      // see Options.Epoch
	onDeposed func(epoch int64) // nil: nobody asks

	trouble   atomic.Bool // the server did not answer the last operation
	onTrouble func()      // nil: nobody asks
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
		conf:      conf.ConnConfig.Copy(),
		by:        cmp.Or(o.Version, "unknown"),
		log:       cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		onTrouble: o.OnTrouble, manages: o.Epoch, onDeposed: o.OnDeposed,
	}
	if d.manages == nil {
		d.manages = func() int64 { return Alone }
	}
	for _, one := range []struct {
		pool       **pgxpool.Pool
		conns      int
		statements time.Duration
		connect    time.Duration
	}{
		{&d.api, cmp.Or(o.MaxConns, defaultMaxConns), controlStatements, connectTimeout},
		{&d.node, nodeConns, defaultStatementTimeout, connectTimeout},
		{&d.functions, functionConns, functionStatements, functionWait},
	} {
		if *one.pool, err = o.pool(one.conns, one.statements, one.connect); err != nil {
			d.Close()
			return nil, err
		}
	}
	return d, nil
}

// pool prepares a pool, which connects at its first use.
func (o Options) pool(conns int, statements, connect time.Duration) (*pgxpool.Pool, error) {
	if o.StatementTimeout <= 0 || o.StatementTimeout > statements {
		o.StatementTimeout = statements
	}
	conf, err := o.config()
	if err != nil {
		return nil, err
	}
	conf.MaxConns = int32(conns)
	if conf.ConnConfig.ConnectTimeout > connect {
		conf.ConnConfig.ConnectTimeout = connect
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), conf)
	if err != nil {
		return nil, picloudError("open database", "", err)
	}
	return pool, nil
}

// Close closes all connections. It waits for running operations, which have
// deadlines of their own.
func (d *DB) Close() {
	for _, pool := range []*pgxpool.Pool{d.api, d.node, d.functions} {
		if pool != nil {
			pool.Close()
		}
	}
}

// API is the pool of the control API.
func (d *DB) API() *pgxpool.Pool { return d.api }

// Duties is the pool of the node's own duties.
func (d *DB) Duties() *pgxpool.Pool { return d.node }

// Ping asks the server for a sign of life.
func (d *DB) Ping(ctx context.Context) error {
	return d.Look(ctx, d.node, About("reach database", ""), d.node.Ping)
}

// Migrate brings the schema up to the version that this binary knows.
// ErrNewerDatabase says that the binary is too old for the database; Migrate then
// changes nothing.
func (d *DB) Migrate(ctx context.Context) error {
	s := About("migrate database", "")
	conn, err := pgx.ConnectConfig(ctx, d.conf.Copy())
	if err != nil {
		return s.Wrap(err)
	}
	defer closeConn(conn)
	if err := d.checkPooler(ctx, s, conn); err != nil {
		return s.Wrap(err)
	}
	// Migrations may take their time, and wait for those of another node.
	patience := milliseconds(10 * time.Minute)
	if _, err := conn.Exec(ctx, sqlSession, patience, patience, nil); err != nil {
		return s.Wrap(err)
	}
	return s.Wrap(migrations.Up(ctx, conn, d.by))
}

// Migrated fails unless the schema is one that this binary can work with. It is Migrate for
// a node whose database role must not change the schema: a manager does that.
func (d *DB) Migrated(ctx context.Context) error {
	s := About("look at the database's schema", "")
	conn, err := pgx.ConnectConfig(ctx, d.conf.Copy())
	if err != nil {
		return s.Wrap(err)
	}
	defer closeConn(conn)
	if err := d.checkPooler(ctx, s, conn); err != nil {
		return s.Wrap(err)
	}
	level := migrations.Level()
	version, err := migrations.Check(ctx, conn, level)
	if err != nil || version >= level {
		return s.Wrap(err)
	}
	return &picloud.Error{
		Code: picloud.CodeDatabaseDown, Op: s.Op, RetryAfter: retryAfter,
		Detail: fmt.Sprintf("the database is at migration %d, and this version of PiCloud needs %d", version, level),
		Hint:   "upgrade the nodes that may become the manager first: one of them brings the database up to date",
	}
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
