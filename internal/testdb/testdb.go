// Package testdb gives tests a real PostgreSQL: one server per test binary,
// started when the first test asks, and a migrated schema of its own for each
// test. It is for tests only.
package testdb

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testenv"
)

// Root is a cluster admin, for tests to act as, once AddRoot made it a user.
var Root = picloud.Actor{User: "root", Admin: true}

// startTime bounds the start of a server, initdb included, on a busy machine.
const startTime = 2 * time.Minute

var shared struct {
	sync.Mutex
	server *managed.Server
	close  func()
}

// Main runs the tests of a package, stops the server that they used, and fails
// when goroutines are left. Call it from TestMain; it does not return.
func Main(m interface{ Run() int }, options ...goleak.Option) {
	testenv.Clear()
	code := m.Run()
	shared.Lock()
	if shared.close != nil {
		shared.close()
	}
	shared.Unlock()
	if code == 0 {
		if err := goleak.Find(options...); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left after the tests:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// New returns a database with a migrated schema of its own and no user, closed
// and dropped at the end of the test.
func New(t testing.TB) *store.DB {
	t.Helper()
	return Open(t, DSN(t))
}

// AddRoot makes Root the first user of a database, which has none yet.
func AddRoot(t testing.TB, db *store.DB) {
	t.Helper()
	hash := sha256.Sum256([]byte(rand.Text()))
	if _, err := db.Users().Bootstrap(context.Background(), Root.User, hash[:]); err != nil {
		t.Fatalf("add root to test database: %v", err)
	}
}

// Open opens and migrates the database of a DSN, and closes it at the end of
// the test.
func Open(t testing.TB, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(postgres.Options{DSN: dsn, Version: "test"})
	if err != nil {
		t.Fatalf("open test database: %v", err)
	}
	t.Cleanup(db.Close)
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if err := db.Migrate(ctx); err != nil {
		t.Fatalf("migrate test database: %v", err)
	}
	return db
}

// DSN returns the URL of an empty schema, dropped at the end of the test. The
// server is the one of PICLOUD_TEST_DATABASE_URL, or a server of this test binary.
func DSN(t testing.TB) string {
	t.Helper()
	base := os.Getenv("PICLOUD_TEST_DATABASE_URL")
	if base == "" {
		base = sharedServer(t).DSN()
	}
	schema := "test_" + strings.ToLower(rand.Text())[:12]
	run(t, base, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { run(t, base, "DROP SCHEMA "+schema+" CASCADE") })
	return withSchema(t, base, schema)
}

func withSchema(t testing.TB, dsn, schema string) string {
	if !strings.Contains(dsn, "://") {
		return dsn + " search_path=" + schema
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal("PICLOUD_TEST_DATABASE_URL is not a URL")
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // a DSN's plus is a plus
	return u.String()
}

func run(t testing.TB, dsn, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("connect to test database: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Server starts a server for this test alone, which may kill and restart it.
func Server(t testing.TB) *managed.Server {
	t.Helper()
	server, stop, err := start()
	if err != nil {
		t.Fatalf("start test server: %v", err)
	}
	t.Cleanup(stop)
	return server
}

func sharedServer(t testing.TB) *managed.Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		server, stop, err := start()
		if err != nil {
			t.Fatalf("start test server: %v", err)
		}
		shared.server, shared.close = server, stop
	}
	return shared.server
}

// start runs a server in a new folder of the temp folder.
func start() (*managed.Server, func(), error) {
	dir, remove, err := MakeDir()
	if err != nil {
		return nil, nil, err
	}
	server, err := managed.New(managed.Options{DataDir: dir, NoSync: true})
	if err != nil {
		remove()
		return nil, nil, err
	}
	stop := func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "testdb:", err)
		}
		remove()
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if err := server.Start(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return server, stop, nil
}

// Dir makes a data folder for a managed server: one that the server's account
// can enter, unlike those of testing.T, whose parents are closed to others. At
// the end of the test, or when the process dies, a server that runs there is
// killed and the folder removed.
func Dir(t testing.TB) string {
	t.Helper()
	dir, remove, err := MakeDir()
	if err != nil {
		t.Fatalf("make test folder: %v", err)
	}
	t.Cleanup(remove)
	return dir
}

// MakeDir is Dir for more than one test: the returned func removes the folder.
func MakeDir() (string, func(), error) {
	dir, err := os.MkdirTemp("", "picloud-test-")
	if err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", nil, err
	}
	remove, err := watchdog(dir)
	if err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return dir, remove, nil
}

// watchdog ends the server and removes its folder when this process is gone,
// however it went; the returned func tells it that this is so.
func watchdog(dir string) (func(), error) {
	script := `cat >/dev/null
pid=$(head -n 1 "$1/postgres/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then kill -QUIT "$pid" 2>/dev/null; sleep 0.5; fi
rm -rf "$1"`
	cmd := exec.Command("/bin/sh", "-c", script, "watchdog", dir)
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		pipe.Close()
		_ = cmd.Wait() // it cleans up as well as it can
	}, nil
}

// Kill ends the main process of a server as a crash would.
func Kill(t testing.TB, server *managed.Server) {
	t.Helper()
	pid := server.PID()
	if pid <= 1 {
		t.Fatal("kill test server: none runs")
	}
	if out, err := exec.Command("kill", "-KILL", strconv.Itoa(pid)).CombinedOutput(); err != nil {
		t.Fatalf("kill test server: %v: %s", err, out)
	}
}
