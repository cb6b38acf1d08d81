package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// bouncer starts Debian's pgbouncer in front of a server, with its defaults but for the
// mode, and returns the DSN of the database behind it.
func bouncer(t *testing.T, socket, mode string) string {
	t.Helper()
	dir := testdb.Dir(t)
	_, portOf, err := net.SplitHostPort(freeAddress(t))
	require.NoError(t, err)
	ini := fmt.Sprintf("[databases]\npicloud = host=%s port=5432 user=picloud dbname=picloud\n"+
		"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %s\nunix_socket_dir =\nauth_type = any\npool_mode = %s\n", socket, portOf, mode)
	path := filepath.Join(dir, "pgbouncer.ini")
	require.NoError(t, os.WriteFile(path, []byte(ini), 0o644))
	uid, gid := accountOf(t, socket)
	cmd := exec.Command("pgbouncer", path)
	if _, err := exec.LookPath("pgbouncer"); err != nil {
		cmd.Path = "/usr/sbin/pgbouncer" // Debian's place, which is not in everybody's PATH
		cmd.Err = nil
	}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	var said strings.Builder
	cmd.Stderr = &said
	require.NoError(t, cmd.Start(), "`make setup-test` installs pgbouncer")
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+portOf)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, 20*time.Second, 5*time.Millisecond)
	return "postgres://picloud@127.0.0.1:" + portOf + "/picloud?sslmode=disable"
}

// accountOf returns who owns a file.
func accountOf(t *testing.T, path string) (uid, gid uint32) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	return owner.Uid, owner.Gid
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// TestAPoolerOfSessionsWorks: everything works behind pgbouncer with its defaults, also
// what belongs to a session.
func TestAPoolerOfSessionsWorks(t *testing.T) {
	server := testdb.Server(t)
	dsn := bouncer(t, server.Socket(), "session")
	db := testdb.OpenWithRoot(t, dsn+"&default_query_exec_mode=simple_protocol")
	var h heard
	l := db.Listen([]string{postgres.CatalogChannel}, h.on)
	require.NoError(t, l.Start(t.Context()))
	defer l.Stop()
	h.until(t, " ", 1)
	p := testdb.Publish(t, db, "blog", "hello", "1")
	h.until(t, fmt.Sprintf("%s %d", postgres.CatalogChannel, p.Deployment.Rev), 1)
	_, err := db.Env().Replace(t.Context(), root, "blog", picloud.Env{"A": "1"}, picloud.MatchAny)
	require.NoError(t, err)
	sum, err := db.KV().Of("blog", picloud.KVQuota{}).Increment(t.Context(), "n", 7, 0)
	require.NoError(t, err)
	require.Equal(t, int64(7), sum)
	for pool, want := range map[string]string{"API": "4s", "Duties": "10s"} {
		var got string
		query := map[string]func() error{
			"API":    func() error { return db.API().QueryRow(t.Context(), "SHOW statement_timeout").Scan(&got) },
			"Duties": func() error { return db.Duties().QueryRow(t.Context(), "SHOW statement_timeout").Scan(&got) },
		}[pool]
		require.NoError(t, query())
		require.Equal(t, want, got, pool)
	}
}

// TestAPoolerOfTransactionsIsRefused, in one sentence that says what to change.
func TestAPoolerOfTransactionsIsRefused(t *testing.T) {
	server := testdb.Server(t)
	for _, mode := range []string{"transaction", "statement"} {
		db, err := store.Open(postgres.Options{DSN: bouncer(t, server.Socket(), mode)})
		require.NoError(t, err)
		defer db.Close()
		err = db.Migrate(t.Context())
		testdb.RequireDown(t, err)
		require.ErrorContains(t, err, "the pooler in front of the database gives each transaction another connection")
		require.Contains(t, hint(t, err), "pool_mode = session")
	}
	db, err := store.Open(postgres.Options{DSN: bouncer(t, server.Socket(), "session") + "&statement_timeout=3000"})
	require.NoError(t, err)
	defer db.Close()
	err = db.Migrate(t.Context())
	testdb.RequireDown(t, err)
	require.ErrorContains(t, err, "the pooler refuses a setting of the DSN")
	require.Contains(t, hint(t, err), "take it out")
}

func hint(t *testing.T, err error) string {
	t.Helper()
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	return e.Hint
}

// TestAStandbyIsRefused says in one sentence what is wrong, also when every host of
// several is one. The primary among several hosts is found (TestTheHostThatAnswersIsUsed).
func TestAStandbyIsRefused(t *testing.T) {
	server := testdb.Server(t)
	testdb.OpenWithRoot(t, server.DSN()).Close()
	require.NoError(t, server.Stop(t.Context()))
	data := filepath.Join(filepath.Dir(server.Socket()), "postgres")
	require.NoError(t, os.WriteFile(filepath.Join(data, "standby.signal"), nil, 0o644))
	require.NoError(t, server.Start(t.Context()))
	several := "host=%[1]s,%[1]s port=5432 user=picloud dbname=picloud sslmode=disable"
	for name, dsn := range map[string]string{
		"alone":      server.DSN(),
		"several":    fmt.Sprintf(several, server.Socket()),
		"read-write": fmt.Sprintf(several, server.Socket()) + " target_session_attrs=read-write",
		"primary":    fmt.Sprintf(several, server.Socket()) + " target_session_attrs=primary",
		"standby":    fmt.Sprintf(several, server.Socket()) + " target_session_attrs=prefer-standby",
	} {
		db, err := store.Open(postgres.Options{DSN: dsn})
		require.NoError(t, err)
		err = db.Migrate(t.Context())
		if err == nil { // nothing to migrate
			_, err = db.Users().Bootstrap(t.Context(), "ada", testdb.TokenHash())
		}
		db.Close()
		testdb.RequireDown(t, err)
		require.ErrorContains(t, err, "read-only standby", name)
		require.Contains(t, hint(t, err), "name the primary", name)
	}
}

// TestReadsAreRepeatedAfterARestart: the server ended its connections while the node held
// them. Nobody notices, for a write neither, because the node looks before it sends.
func TestReadsAreRepeatedAfterARestart(t *testing.T) {
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	testdb.App(t, db, "blog")
	store := db.KV().Of("blog", picloud.KVQuota{})
	conn := testdb.Connect(t, dsn)
	for round := range 20 {
		_, err := store.Set(t.Context(), "k", []byte{1}, 0)
		require.NoError(t, err)
		_, _, err = db.Apps().List(t.Context(), root, picloud.Page{})
		require.NoError(t, err)
		_, err = conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'picloud' AND pid <> pg_backend_pid()`)
		require.NoError(t, err)
		_, found, err := store.Get(t.Context(), "k", nil)
		require.NoError(t, err, round)
		require.True(t, found)
		_, _, err = db.Apps().List(t.Context(), root, picloud.Page{})
		require.NoError(t, err, round)
	}
}

// TestOnlyReadsAreRepeated when the connection breaks in the middle.
func TestOnlyReadsAreRepeated(t *testing.T) {
	db := testdb.New(t)
	for _, broken := range []error{&pgconn.PgError{Code: "57P01"}, fmt.Errorf("receive message: %w", io.ErrUnexpectedEOF)} {
		tries := 0
		try := func(context.Context) error {
			if tries++; tries == 1 {
				return broken
			}
			return nil
		}
		require.NoError(t, db.Look(t.Context(), db.API(), postgres.About("read", "it"), try))
		require.Equal(t, 2, tries)
		tries = 0
		testdb.RequireDown(t, db.Run(t.Context(), db.API(), postgres.About("write", "it"), try))
		require.Equal(t, 1, tries)
	}
}

// TestADSNThatWasCutOffIsRefused: a character of the password ended the password, and the
// rest of it would show in errors as a host, a database or a setting.
func TestADSNThatWasCutOffIsRefused(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:12/hunter2@h/db", "postgres://u:12?hunter2@h/db", "postgres://u:12#hunter2@h/db",
		"postgres://u:x@12/hunter2@h/db", "postgres://u:x@12?hunter2=y@h/db", "postgres://h:12/db?hunter2%20=x", "postgres://u:x@hunter2@h/db", "postgres://h,i:5/db#hunter2",
	} {
		_, err := store.Open(postgres.Options{DSN: dsn})
		testdb.RequireCode(t, picloud.CodeInvalid, err)
		require.NotContains(t, fmt.Sprintf("%v %+v", err, err), "hunter2")
	}
	closed := freeAddress(t)
	host, port, err := net.SplitHostPort(closed)
	require.NoError(t, err)
	for _, dsn := range []string{ // these are as they should be, and so is what they lead to
		"postgres://u:hunter2%2F%40%3F%23%22@" + closed + "/db",
		"host=" + host + " port=" + port + ` user=u dbname=db password=hunter2"{$x}`, "host=" + host + " port=" + port + ` user=u dbname=db password='hun ter2 \'"'`,
	} {
		db, err := store.Open(postgres.Options{DSN: dsn})
		require.NoError(t, err)
		err = db.Ping(t.Context())
		db.Close()
		testdb.RequireDown(t, err)
		require.NotContains(t, err.Error(), "hun")
		require.NotContains(t, err.Error(), "ter2")
	}
	server := testdb.Server(t)
	db, err := store.Open(postgres.Options{DSN: server.DSN() + "&hunter2=x"})
	require.NoError(t, err)
	defer db.Close()
	err = db.Ping(t.Context())
	testdb.RequireDown(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}

// TestNoPasswordIsTold: whatever characters it has and whether they are escaped, no error
// and no line of the log holds a part of it.
func TestNoPasswordIsTold(t *testing.T) {
	host, port, err := net.SplitHostPort(freeAddress(t))
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.StringOfN(rapid.RuneFrom([]rune("a1:/?#@%'\\\"=&,;[]{}$é ")), 0, 6, -1)
		password := odd.Draw(t, "before") + "hunter2" + odd.Draw(t, "after")
		dsn := rapid.SampledFrom([]func() string{
			func() string { return "postgres://u:" + password + "@" + net.JoinHostPort(host, port) + "/db" },
			func() string {
				return "postgres://u:" + url.PathEscape(password) + "@" + net.JoinHostPort(host, port) + "/db"
			},
			func() string {
				return "postgres://" + net.JoinHostPort(host, port) + "/db?user=u&password=" + url.QueryEscape(password)
			},
			func() string {
				quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)
				return "host=" + host + " port=" + port + " user=u dbname=db password='" + quoted + "'"
			},
			func() string { return "user=u dbname=db password=" + password + " host=" + host + " port=" + port },
		}).Draw(t, "form")()
		var told bytes.Buffer
		db, err := store.Open(postgres.Options{DSN: dsn, Logger: slog.New(slog.NewTextHandler(&told, nil))})
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			err = db.Ping(ctx)
			db.Close()
		}
		require.Error(t, err)
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(&told, "%v %+v\n", err, err)
		}
		require.NotContains(t, told.String(), "hunter2", dsn)
	})
}
