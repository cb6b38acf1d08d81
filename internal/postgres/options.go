package postgres

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud/migrations"
)

// Options say how to reach the database.
type Options struct {
	// DSN is a PostgreSQL URL or keyword/value string. When it names several hosts,
	// the one that accepts writes is used. Required.
	DSN string
	// Socket is the folder of the server's socket. It replaces the hosts of DSN, and is
	// never parsed: any folder will do.
	Socket string
	// Dial opens a connection to the server, instead of the hosts of DSN: the way through
	// another node. Default: the hosts of DSN, or Socket.
	Dial func(ctx context.Context) (net.Conn, error)
	// MaxConns is how many connections serve the control API. Default 4.
	// Functions have four more, the node's own duties two, and a Listener one.
	MaxConns int
	// StatementTimeout ends a statement on the server. Default 10 s, and 4 s for the
	// control API.
	StatementTimeout time.Duration
	// OnTrouble is called when an operation finds that the server cannot be reached or
	// does not answer, and the operation before it did not. It must not block. Optional.
	OnTrouble func()
	// Epoch says under which epoch this node manages its cluster now; Alone and NoManager
	// stand for none. Each change of the manager proves the epoch. It must not block.
	// Default: the node is alone.
	Epoch func() int64
	// OnDeposed is called when the database refuses an epoch of this node, because another
	// node manages the cluster. It must not block. Optional.
	OnDeposed func(epoch int64)
	// Version is the binary's version; migrations record it.
	Version string
	// Logger receives what the Listener meets. Default: discard.
	Logger *slog.Logger
}

const (
	defaultMaxConns         = 4
	nodeConns               = 2
	defaultStatementTimeout = 10 * time.Second
	connectTimeout          = 5 * time.Second
	// opTimeout bounds one operation of the node's own duties, waiting for a connection
	// included.
	opTimeout = 20 * time.Second
	// controlTimeout bounds one operation of the control API. The node keeps this time
	// itself, because a server that is frozen ends no statement.
	controlTimeout = 5 * time.Second
	// controlStatements ends a statement of the control API on the server, before the
	// node loses patience: the answer of the server says more.
	controlStatements = 4 * time.Second
	// maxIdle is when an unused connection is closed. It is a little longer than
	// the time between two reports of an idle node. Such a node therefore keeps one
	// connection, and the server does not fork a process once a minute.
	maxIdle = 90 * time.Second
)

const (
	// functionConns is how many connections the functions of a node share. At rest
	// the node holds none of them.
	functionConns = 4
	// functionStatements ends a statement of a function, and after four fifths
	// of it a wait for a row: 2 s.
	functionStatements = 2500 * time.Millisecond
	// functionWait bounds a function's wait for one of the connections.
	functionWait = 2 * time.Second
	// functionTimeout bounds one operation of a function.
	functionTimeout = 5 * time.Second
)

// config turns the options into the configuration of a pool.
func (o Options) config() (*pgxpool.Config, error) {
	conf, err := o.parse()
	if err != nil {
		return nil, err
	}
	c := conf.ConnConfig
	if o.Socket != "" || o.Dial != nil {
		// What PGOPTIONS and its kin say is meant for other servers.
		c.Host, c.Fallbacks, c.ValidateConnect, c.RuntimeParams = cmp.Or(o.Socket, "/"), nil, nil, map[string]string{}
	}
	if c.ConnectTimeout <= 0 || c.ConnectTimeout > time.Minute {
		c.ConnectTimeout = connectTimeout
	}
	// With keepalives a vanished server is noticed after a minute instead of hours.
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}}
	c.DialFunc = dialer.DialContext
	if o.Dial != nil {
		c.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return o.Dial(ctx) }
	}
	c.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	if c.ValidateConnect == nil && severalHosts(c) {
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	timeout := o.StatementTimeout
	if timeout <= 0 {
		timeout = defaultStatementTimeout
	}
	if _, set := c.RuntimeParams["application_name"]; !set {
		c.RuntimeParams["application_name"] = "picloud"
	}
	// A pooler takes no such settings from the start of a connection.
	args := bounds(c.RuntimeParams, timeout)
	c.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		return conn.ExecParams(ctx, sqlSession, args, nil, nil, nil).Read().Err
	}
	if m := c.DefaultQueryExecMode; m == pgx.QueryExecModeExec || m == pgx.QueryExecModeSimpleProtocol {
		c.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement // those modes guess the types of values
	}
	conf.MinConns = 0
	conf.MinIdleConns = 0
	conf.MaxConnIdleTime = maxIdle
	conf.MaxConnLifetime = time.Hour
	conf.MaxConnLifetimeJitter = 5 * time.Minute
	conf.HealthCheckPeriod = maxIdle / 2
	conf.PingTimeout = connectTimeout
	conf.ShouldPing = func(_ context.Context, idle pgxpool.ShouldPingParams) bool {
		return idle.IdleDuration > time.Second || spoken(idle.Conn.PgConn().Conn())
	}
	level := migrations.Level()
	conf.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		inUTC(conn)
		// A newer binary may have migrated the database since we started.
		_, err := migrations.Check(ctx, conn, level)
		return err
	}
	return conf, nil
}

// inUTC makes conn read times in UTC, as the API writes them.
func inUTC(conn *pgx.Conn) {
	conn.TypeMap().RegisterType(&pgtype.Type{
		Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
	})
}

func severalHosts(c *pgx.ConnConfig) bool {
	for _, f := range c.Fallbacks {
		if f.Host != c.Host || f.Port != c.Port {
			return true
		}
	}
	return false
}

// sqlSession bounds what a session does: its statements, its waits for locks, and its
// idle transactions. Null leaves a bound as it is.
const sqlSession = `SELECT
    set_config('statement_timeout', coalesce($1, current_setting('statement_timeout')), false),
    set_config('lock_timeout', coalesce($2, current_setting('lock_timeout')), false),
    set_config('idle_in_transaction_session_timeout', coalesce($3, current_setting('idle_in_transaction_session_timeout')), false)`

// bounds returns the arguments of sqlSession, but for what the DSN says itself.
func bounds(set map[string]string, timeout time.Duration) [][]byte {
	out := [][]byte{[]byte(milliseconds(timeout)), []byte(milliseconds(timeout * 4 / 5)), []byte(milliseconds(timeout))}
	for i, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		if _, own := set[name]; own || strings.Contains(set["options"], name) {
			out[i] = nil
		}
	}
	return out
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func (o Options) check() error {
	if o.DSN == "" {
		return errors.New("open database: no DSN")
	}
	if o.MaxConns < 0 || o.MaxConns > 1000 {
		return errors.New("open database: MaxConns is not between 0 and 1000")
	}
	return nil
}
