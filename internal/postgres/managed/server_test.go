package managed_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/testdb"
)

func TestStartStopStart(t *testing.T) {
	dir := testdb.Dir(t)
	s := newServer(t, managed.Options{DataDir: dir})
	require.Zero(t, s.PID())
	dsn := s.DSN()
	start(t, s)
	require.Equal(t, dsn, s.DSN())
	require.Regexp(t, `^\d+\.\d+`, s.Version())
	require.False(t, s.Adopted())
	require.Error(t, s.Start(t.Context()), "it runs")
	require.Equal(t, "picloud", query(t, s, `SELECT current_user || coalesce(nullif(current_database(), 'picloud'), '')`))
	query(t, s, `CREATE TABLE kept AS SELECT 'still here' AS text`)
	require.Equal(t, "off", query(t, s, `SHOW jit`))
	require.Equal(t, "on", query(t, s, `SHOW data_checksums`))
	require.Empty(t, query(t, s, `SHOW listen_addresses`))

	busy, err := pgx.Connect(t.Context(), dsn) // a client does not hold up the stop
	require.NoError(t, err)
	defer busy.Close(context.Background())
	pid := s.PID()
	stop(t, s)
	stop(t, s)
	require.False(t, alive(pid))
	_, err = pgx.Connect(t.Context(), dsn)
	require.Error(t, err)

	again := newServer(t, managed.Options{DataDir: dir})
	start(t, again)
	require.Equal(t, "still here", query(t, again, `SELECT text FROM kept`))
	info, err := os.Stat(filepath.Join(dir, "postgres.log"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	for _, name := range []string{"postgres", "postgres-run"} {
		info, err = os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), name)
	}
}

// An agent that is killed leaves its server running; the next one adopts it.
func TestAdoptsAServerThatRuns(t *testing.T) {
	dir := dataDir(t)
	agent, started := startAgent(t, dir)
	pid := <-started
	require.Positive(t, pid)
	kill(agent)
	require.True(t, alive(pid))

	s := newServer(t, managed.Options{DataDir: dir})
	start(t, s)
	require.True(t, s.Adopted())
	require.Equal(t, pid, s.PID())
	require.Equal(t, "1", query(t, s, `SELECT '1'`))

	testdb.Kill(t, s) // an adopted server is watched like any other
	require.Eventually(t, func() bool { p := s.PID(); return p != 0 && p != pid }, 30*time.Second, 20*time.Millisecond)
	require.False(t, s.Adopted())
	require.Equal(t, "1", query(t, s, `SELECT '1'`))
}

func TestStopsAServerThatItAdopted(t *testing.T) {
	dir := dataDir(t)
	agent, started := startAgent(t, dir)
	pid := <-started
	kill(agent)
	s := newServer(t, managed.Options{DataDir: dir})
	start(t, s)
	require.True(t, s.Adopted())
	stop(t, s)
	require.False(t, alive(pid))
}

// Its socket is gone, as after a cleaning of the temp folder: nobody could
// reach it any more, so that it is restarted.
func TestRestartsAServerThatCannotBeReached(t *testing.T) {
	dir := dataDir(t)
	agent, started := startAgent(t, dir)
	pid := <-started
	kill(agent)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "postgres-run")))
	s := newServer(t, managed.Options{DataDir: dir})
	start(t, s)
	require.False(t, s.Adopted())
	require.False(t, alive(pid))
	require.Equal(t, "1", query(t, s, `SELECT '1'`))
}

func TestRestartsAServerThatDies(t *testing.T) {
	s := newServer(t, managed.Options{DataDir: dataDir(t)})
	start(t, s)
	query(t, s, `CREATE TABLE kept AS SELECT 0 AS n`)
	for n := range 3 {
		pid := s.PID()
		query(t, s, fmt.Sprintf(`UPDATE kept SET n = %d`, n))
		testdb.Kill(t, s)
		require.Eventually(t, func() bool { p := s.PID(); return p != 0 && p != pid }, 30*time.Second, 10*time.Millisecond)
		require.Equal(t, fmt.Sprint(n), query(t, s, `SELECT n::text FROM kept`))
	}
}

// Agent and server die together, as when the machine loses power.
func TestRecoversWhenBothWereKilled(t *testing.T) {
	dir := dataDir(t)
	agent, started := startAgent(t, dir)
	pid := <-started
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP)) // no clean shutdown between the two
	kill(agent)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	s := newServer(t, managed.Options{DataDir: dir})
	start(t, s)
	require.False(t, s.Adopted())
	require.Equal(t, "1", query(t, s, `SELECT '1'`))
}

// The number in a stale pid file may be that of some other process by now.
func TestAPidFileThatIsStale(t *testing.T) {
	dir := dataDir(t)
	s := newServer(t, managed.Options{DataDir: dir})
	start(t, s)
	path := filepath.Join(dir, "postgres", "postmaster.pid")
	record, err := os.ReadFile(path)
	require.NoError(t, err)
	stop(t, s)
	_, rest, _ := strings.Cut(string(record), "\n")
	uid, gid := account(t)
	for name, text := range map[string]string{
		"of another process":      fmt.Sprintf("%d\n%s", sleeper(t), rest),
		"of this process":         fmt.Sprintf("%d\n%s", os.Getpid(), rest),
		"of nobody":               "4194303\n" + rest,
		"that was cut":            "41",
		"that was emptied":        "",
		"that holds other things": "hello\n\x00",
	} {
		t.Run(name, func(t *testing.T) {
			write(t, path, text)
			require.NoError(t, os.Chown(path, uid, gid))
			s := newServer(t, managed.Options{DataDir: dir})
			start(t, s)
			require.False(t, s.Adopted())
			require.Equal(t, "1", query(t, s, `SELECT '1'`))
			stop(t, s)
		})
	}
}

// However far initialization got when the agent was killed, the next start
// has a database.
func TestAnInitializationThatWasCutShort(t *testing.T) {
	for _, after := range []time.Duration{100 * time.Millisecond, 400 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			dir := testdb.Dir(t)
			agent, started := startAgent(t, dir)
			select {
			case <-started:
			case <-time.After(after):
			}
			kill(agent)
			s := newServer(t, managed.Options{DataDir: dir})
			start(t, s)
			require.Equal(t, "1", query(t, s, `SELECT '1'`))
			left, err := filepath.Glob(filepath.Join(dir, "postgres.init-*"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestTwoAgentsNeverShareADataFolder(t *testing.T) {
	dir := dataDir(t)
	one := newServer(t, managed.Options{DataDir: dir})
	start(t, one)
	two := newServer(t, managed.Options{DataDir: dir})
	err := two.Start(t.Context())
	require.ErrorIs(t, err, picloud.ErrConflict)
	require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
	require.Equal(t, "1", query(t, one, `SELECT '1'`))
	info, err := os.Stat(filepath.Join(dir, "lock"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	stop(t, one)
	start(t, two)
}

func TestTheCallersLockIsLeftToTheCaller(t *testing.T) {
	dir := dataDir(t)
	require.NoError(t, datadir.Prepare(dir))
	lock, err := datadir.Acquire(dir)
	require.NoError(t, err)
	s := newServer(t, managed.Options{DataDir: dir, Lock: lock})
	start(t, s)
	stop(t, s)
	_, err = datadir.Acquire(dir)
	require.ErrorIs(t, err, picloud.ErrConflict)
	lock.Release()
	lock, err = datadir.Acquire(dir)
	require.NoError(t, err)
	lock.Release()
}

func TestALongPathGetsAShortSocket(t *testing.T) {
	dir := filepath.Join(testdb.Dir(t), strings.Repeat("long/", 20), "it's here [1]")
	s := newServer(t, managed.Options{DataDir: dir})
	start(t, s)
	require.Equal(t, "1", query(t, s, `SELECT '1'`))
	run := query(t, s, `SHOW unix_socket_directories`)
	require.Less(t, len(run), 90)
	t.Setenv("TMPDIR", t.TempDir())
	require.Equal(t, s.Socket(), newServer(t, managed.Options{DataDir: dir}).Socket(), "an agent with another environment finds the server")
	stop(t, s)
	require.NoError(t, os.RemoveAll(run))
	_, err := managed.New(managed.Options{DataDir: dir, RunDir: dir})
	require.ErrorIs(t, err, picloud.ErrInvalid)
	_, err = managed.New(managed.Options{})
	require.Error(t, err)
}

func TestTheLogStaysSmall(t *testing.T) {
	dir := dataDir(t)
	path := filepath.Join(dir, "postgres.log")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, 11<<20))
	s := newServer(t, managed.Options{DataDir: dir})
	start(t, s)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(1<<20))
	_, err = os.Stat(path + ".1")
	require.NoError(t, err)
}

func TestAStartThatIsGivenNoTimeEnds(t *testing.T) {
	dir := testdb.Dir(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	s := newServer(t, managed.Options{DataDir: dir})
	require.Error(t, s.Start(ctx))
	start(t, s)
}

// A server that takes long to replay its log is not made to begin again: the
// next start finds it further on. A standby that lets nobody in stands for it.
func TestAServerThatRecoversIsLeftAtIt(t *testing.T) {
	dir := dataDir(t)
	data := filepath.Join(dir, "postgres")
	uid, gid := account(t)
	place := func(name, text string) {
		write(t, filepath.Join(data, name), text)
		require.NoError(t, os.Chown(filepath.Join(data, name), uid, gid))
	}
	place("postgresql.auto.conf", "hot_standby = off\n")
	place("standby.signal", "")
	s := newServer(t, managed.Options{DataDir: dir})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := s.Start(ctx)
	require.ErrorIs(t, err, picloud.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	record, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	require.NoError(t, err)
	line, _, _ := strings.Cut(string(record), "\n")
	pid, err := strconv.Atoi(line)
	require.NoError(t, err)
	require.True(t, alive(pid))
	place("promote", "")
	require.NoError(t, syscall.Kill(pid, syscall.SIGUSR1))
	start(t, s)
	require.True(t, s.Adopted())
	require.Equal(t, pid, s.PID())
}
