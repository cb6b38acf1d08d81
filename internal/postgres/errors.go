package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/migrations"
)

// Subject is what an operation does and to what; its errors carry both.
type Subject struct{ Op, Resource string }

// About names what an operation does, "delete app", and to what.
func About(op, resource string) Subject { return Subject{op, resource} }

// Resource names a function, or a part of one, in errors.
func Resource(app, function string, part ...any) string {
	if len(part) == 0 {
		return app + "/" + function
	}
	return app + "/" + function + " " + fmt.Sprint(part...)
}

// retryAfter is the advice when the database cannot be reached.
const retryAfter = 2 * time.Second

// Fail returns an error of the given code.
func (s Subject) Fail(code picloud.Code, detail, hint string) error {
	return &picloud.Error{Code: code, Op: s.Op, Resource: s.Resource, Detail: detail, Hint: hint}
}

// NotFound says that what the operation is about is not there.
func (s Subject) NotFound() error {
	return s.Fail(picloud.CodeNotFound, "", "")
}

// NoApp is NotFound for an actor who has no role in the app. To such an actor an app
// that exists and one that does not are the same. What is asked for in an app need not be
// what is missing, so the error names the app.
func (s Subject) NoApp() error {
	app, _, inside := strings.Cut(s.Resource, "/")
	if !inside {
		return s.NotFound()
	}
	return s.Fail(picloud.CodeNotFound, "there is no app "+app+", or you are not a member of it",
		"picloud app ls lists your apps; picloud app add "+app+" makes this one")
}

// Forbidden says that the actor lacks the role need.
func (s Subject) Forbidden(need picloud.Role) error {
	return s.Fail(picloud.CodeForbidden, "this needs the role "+string(need), "ask an admin or owner of the app")
}

// Exists says that what the operation makes is there already.
func (s Subject) Exists() error {
	return s.Fail(picloud.CodeExists, "it exists already", "")
}

// AdminsOnly says that the actor is not a cluster admin.
func (s Subject) AdminsOnly() error {
	return s.Fail(picloud.CodeForbidden, "only cluster admins may", "ask a cluster admin")
}

// Precondition says that the actor acts on an earlier state than the present one.
func (s Subject) Precondition() error {
	return s.Fail(picloud.CodePrecondition, "it has changed since you read it", "read it again and repeat the change")
}

// BadCursor says that the cursor of a page belongs to another list.
func (s Subject) BadCursor() error {
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: s.Op, Resource: s.Resource, Detail: "the cursor does not belong to this list",
		Fields: []picloud.FieldError{{Field: "cursor", Message: "must be the value of `next` in an earlier page"}},
	}
}

// Wrap turns an error of the driver into an error of the catalogue. An error of the
// catalogue stays unchanged.
func (s Subject) Wrap(err error) error { return picloudError(s.Op, s.Resource, err) }

func picloudError(op, resource string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*picloud.Error](err); ok {
		return err
	}
	if ahead, ok := errors.AsType[*migrations.NewerError](err); ok {
		return newer(About(op, resource), ahead)
	}
	out := &picloud.Error{Code: picloud.CodeInternal, Op: op, Resource: resource, Err: err}
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		out.Code, out.Detail, out.Hint = explain(pg)
		if pg.Code == "42704" {
			out.Err = nil // it names the setting, which may be a part of the password
		}
	case errors.Is(err, pgx.ErrNoRows):
		out.Code, out.Err = picloud.CodeNotFound, nil
	case unreachable(err):
		out.Code = picloud.CodeDatabaseDown
		if text := err.Error(); strings.Contains(text, "read only connection") || strings.Contains(text, "standby mode") { // all hosts
			out.Detail, out.Hint = standby, standbyHint
		}
	}
	switch out.Code {
	case picloud.CodeDatabaseDown:
		out.RetryAfter = retryAfter
	case picloud.CodeDeposed:
		out.RetryAfter, out.Err = retryAfter, nil
	}
	return out
}

// unreachable reports whether the connection to the server failed. That is every
// error except an answer of the server, and an answer that could not be decoded.
func unreachable(err error) bool {
	var connect *pgconn.ConnectError
	var network interface{ Timeout() bool }
	return errors.As(err, &connect) || errors.As(err, &network) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		pgconn.SafeToRetry(err) || brokenOff(err)
}

const (
	standby     = "the server is a read-only standby"
	standbyHint = "name the primary in PICLOUD_DATABASE_URL, or all hosts with commas between them: the one that accepts writes is used"
)

// explain says what a server's error means to the caller. The server's own
// text stays in the cause; it may quote what the caller sent.
func explain(pg *pgconn.PgError) (code picloud.Code, detail, hint string) {
	switch pg.Code {
	case deposed:
		return picloud.CodeDeposed, deposedDetail, deposedHint
	case "23505": // unique_violation
		return picloud.CodeExists, "it exists already", ""
	case "23503": // foreign_key_violation
		return picloud.CodeConflict, "what it belongs to went away meanwhile", ""
	case "23514", "22021", "22P05", "22P02", "22001": // check_violation, bad characters, bad text
		return picloud.CodeInvalid, "the database does not accept the value", ""
	case "25P03", "25P04": // idle_in_transaction_session_timeout, transaction_timeout
		return picloud.CodeDatabaseDown, "the node was silent in the middle of the operation, and the server has undone it", ""
	case "57014": // query_canceled
		return picloud.CodeDatabaseDown, "the statement ran past its time", ""
	case "55P03", "40P01", "40001": // lock_not_available, deadlock, serialization
		return picloud.CodeDatabaseDown, "the rows are in use", ""
	case "28P01", "28000", "3D000":
		return picloud.CodeDatabaseDown, "the server refused the login", "check user, password and database name of PICLOUD_DATABASE_URL"
	case "42501": // insufficient_privilege
		return picloud.CodeDatabaseDown, "the database role lacks a right", "let it own the database: ALTER DATABASE name OWNER TO role"
	case "42P01", "3F000": // undefined_table, invalid_schema_name
		return picloud.CodeDatabaseDown, "the database is not migrated yet", ""
	case "25006": // read_only_sql_transaction
		return picloud.CodeDatabaseDown, standby, standbyHint
	case "42P05", "26000": // duplicate_prepared_statement, invalid_sql_statement_name
		return picloud.CodeDatabaseDown, "a pooler gave the session another connection", "set pool_mode = session for this database in the pooler"
	case "08P01": // protocol_violation
		if strings.Contains(pg.Message, "startup parameter") {
			return picloud.CodeDatabaseDown, "the pooler refuses a setting of the DSN",
				"take it out of PICLOUD_DATABASE_URL, or name it in ignore_startup_parameters of the pooler"
		}
	case "42704": // undefined_object
		return picloud.CodeDatabaseDown, "the server does not know a setting of the DSN", "take it out of PICLOUD_DATABASE_URL"
	case "53100", "53200": // disk_full, out_of_memory
		return picloud.CodeDatabaseDown, "the server is out of disk space or memory", ""
	case "53300": // too_many_connections
		return picloud.CodeDatabaseDown, "all connections of the server are in use", "raise max_connections, or run fewer nodes on it"
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "08", "57", "53", "58", "F0": // connection, operator intervention, resources, system, config file
		return picloud.CodeDatabaseDown, "", ""
	}
	return picloud.CodeInternal, "", ""
}
