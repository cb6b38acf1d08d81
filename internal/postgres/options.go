package postgres

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud"
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
	// MaxConns is how many connections serve the control API. Default 4.
	// Functions have four more, the node's own duties two, and a Listener one.
	MaxConns int
	// StatementTimeout ends a statement on the server. Default 10 s.
	StatementTimeout time.Duration
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
	// opTimeout bounds one operation, waiting for a connection included.
	opTimeout = 20 * time.Second
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
	conf, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		// The cause quotes the DSN, and with it perhaps the password.
		return nil, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "read database settings",
			Detail: "PICLOUD_DATABASE_URL is neither a PostgreSQL URL nor a keyword/value string",
			Hint:   "use postgres://USER:PASSWORD@HOST:5432/DATABASE, or leave it empty for a managed server",
		}
	}
	c := conf.ConnConfig
	if o.Socket != "" {
		// What PGOPTIONS and its kin say is meant for other servers.
		c.Host, c.Fallbacks, c.ValidateConnect, c.RuntimeParams = o.Socket, nil, nil, map[string]string{}
	}
	if c.ConnectTimeout <= 0 || c.ConnectTimeout > time.Minute {
		c.ConnectTimeout = connectTimeout
	}
	// With keepalives a vanished server is noticed after a minute instead of hours.
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}}
	c.DialFunc = dialer.DialContext
	c.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	if c.ValidateConnect == nil && severalHosts(c) {
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	timeout := o.StatementTimeout
	if timeout <= 0 {
		timeout = defaultStatementTimeout
	}
	for name, value := range map[string]string{
		"application_name":                    "picloud",
		"statement_timeout":                   milliseconds(timeout),
		"lock_timeout":                        milliseconds(timeout * 4 / 5),
		"idle_in_transaction_session_timeout": milliseconds(timeout),
	} {
		if _, set := c.RuntimeParams[name]; !set {
			c.RuntimeParams[name] = value
		}
	}
	conf.MinConns = 0
	conf.MinIdleConns = 0
	conf.MaxConnIdleTime = maxIdle
	conf.MaxConnLifetime = time.Hour
	conf.MaxConnLifetimeJitter = 5 * time.Minute
	conf.HealthCheckPeriod = maxIdle / 2
	conf.PingTimeout = connectTimeout
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
