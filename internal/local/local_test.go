package local

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// fake is a node that counts what it is asked.
type fake struct {
	reload error
	stops  atomic.Int32
	onStop func()
}

func (f *fake) Status() Status { return Status{Running: true, State: Ready, PID: 7, Functions: 2} }
func (f *fake) Reload() error  { return f.reload }
func (f *fake) NewToken(_ context.Context, user string) (token, saved string, err error) {
	if user != "ada" {
		return "", "", &picloud.Error{Code: picloud.CodeNotFound, Op: "replace token of", Resource: user, Detail: "there is no such user", Hint: "try ada"}
	}
	return "pct_1", "/data/credentials", nil
}

func (f *fake) Cluster() Cluster {
	return Cluster{State: picloud.ClusterState{Name: "home", SeenBy: "pi-1"}, Nodes: []picloud.Node{{Name: "pi-1"}}}
}

func (f *fake) Recover(_ context.Context, r Recovery) (Recovered, error) {
	if !r.Force {
		return Recovered{}, &picloud.Error{Code: picloud.CodeConflict, Detail: "a majority is alive", Hint: "--force"}
	}
	return Recovered{Node: "pi-1", Done: !r.Try}, nil
}

func (f *fake) Stop() {
	f.stops.Add(1)
	if f.onStop != nil {
		f.onStop()
	}
}

func TestANodeThatRuns(t *testing.T) {
	dir := t.TempDir()
	lock, err := datadir.Acquire(dir)
	require.NoError(t, err)
	f := &fake{}
	f.onStop = lock.Release
	s, err := Listen(dir, f)
	require.NoError(t, err)
	defer s.Close()
	info, err := os.Stat(datadir.NodeSocket(dir))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	status, err := Look(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, f.Status(), status)
	require.NoError(t, Reload(t.Context(), dir))
	f.reload = errors.New("line 3 is wrong")
	err = Reload(t.Context(), dir)
	require.ErrorContains(t, err, "line 3 is wrong")
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Hint, "stays in use")

	made, err := ReplaceToken(t.Context(), dir, "ada")
	require.NoError(t, err)
	require.Equal(t, NewToken{"pct_1", "/data/credentials"}, made)
	_, err = ReplaceToken(t.Context(), dir, "bob")
	require.ErrorIs(t, err, picloud.ErrNotFound)
	require.EqualError(t, err, "replace token of bob: there is no such user")
	require.ErrorAs(t, err, &e)
	require.Equal(t, "try ada", e.Hint)

	seen, err := Seen(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, f.Cluster(), seen)
	_, err = Recover(t.Context(), dir, Recovery{Try: true})
	require.ErrorIs(t, err, picloud.ErrConflict)
	done, err := Recover(t.Context(), dir, Recovery{Force: true})
	require.NoError(t, err)
	require.True(t, done.Done)

	pid, err := Stop(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, os.Getpid(), pid)
	require.EqualValues(t, 1, f.stops.Load())
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	status, err := Look(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, Status{Data: dir}, status)
	_, tokenErr := ReplaceToken(t.Context(), dir, "ada")
	_, seenErr := Seen(t.Context(), dir)
	_, recoverErr := Recover(t.Context(), dir, Recovery{})
	for _, err := range []error{Reload(t.Context(), dir), second(Stop(t.Context(), dir)), tokenErr, seenErr, recoverErr} {
		var away *Away
		require.ErrorAs(t, err, &away)
		require.Equal(t, 3, away.ExitCode())
		require.EqualError(t, err, "no node runs on the data folder "+dir)
	}
}

func second(_ int, err error) error { return err }

// TestAStaleSocketIsReplaced: a node that was killed leaves one.
func TestAStaleSocketIsReplaced(t *testing.T) {
	dir := t.TempDir()
	_, err := datadir.RunDir(dir)
	require.NoError(t, err)
	l, err := net.Listen("unix", datadir.NodeSocket(dir))
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	status, err := Look(t.Context(), dir)
	require.NoError(t, err)
	require.False(t, status.Running)
	s, err := Listen(dir, &fake{})
	require.NoError(t, err)
	defer s.Close()
	status, err = Look(t.Context(), dir)
	require.NoError(t, err)
	require.True(t, status.Running)
}

// TestASilentNode has the folder and no socket.
func TestASilentNode(t *testing.T) {
	dir := t.TempDir()
	lock, err := datadir.Acquire(dir)
	require.NoError(t, err)
	defer lock.Release()
	status, err := Look(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, Silent, status.State)
	require.Equal(t, os.Getpid(), status.PID)
	require.Contains(t, status.Reason, "nobody listens")
}

// TestTheSocketServesNothingElse, and not with other methods.
func TestTheSocketServesNothingElse(t *testing.T) {
	dir := t.TempDir()
	f := &fake{}
	s, err := Listen(dir, f)
	require.NoError(t, err)
	defer s.Close()
	for _, c := range []string{"GET /stop", "GET /reload", "GET /cluster/recover", "POST /status", "GET /config/", "GET /debug/pprof/"} {
		method, path, _ := strings.Cut(c, " ")
		require.ErrorContains(t, ask(t.Context(), dir, question{method, path}, nil, nil), "the node answered 40", c)
	}
	require.Zero(t, f.stops.Load())
	require.NoError(t, ask(t.Context(), dir, statusQuestion, nil, nil))
}

// TestAStrangersSocketAndLock stand in a folder that somebody believes. No order goes to
// the socket, and no signal to the process that the lock names.
func TestAStrangersSocketAndLock(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can make files of other users")
		return
	}
	dir := t.TempDir()
	lock, err := datadir.Acquire(dir)
	require.NoError(t, err)
	defer lock.Release()
	f := &fake{}
	s, err := Listen(dir, f)
	require.NoError(t, err)
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // a stop that went through would wait for the lock
	defer cancel()
	refused := func(path string) {
		t.Helper()
		require.NoError(t, os.Chown(path, 65534, 65534))
		defer func() { require.NoError(t, os.Chown(path, 0, 0)) }()
		_, lookErr := Look(ctx, dir)
		_, tokenErr := ReplaceToken(ctx, dir, "ada")
		_, recoverErr := Recover(ctx, dir, Recovery{})
		for _, err := range []error{lookErr, tokenErr, recoverErr, Reload(ctx, dir), second(Stop(ctx, dir))} {
			var foreign *datadir.Foreign
			require.ErrorAs(t, err, &foreign)
			require.Equal(t, path, foreign.Path)
		}
	}
	refused(datadir.NodeSocket(dir))
	refused(datadir.RunPath(dir))
	require.NoError(t, os.Chown(datadir.LockPath(dir), 65534, 65534))
	var foreign *datadir.Foreign
	require.ErrorAs(t, second(Stop(ctx, dir)), &foreign)
	require.Zero(t, f.stops.Load())

	require.NoError(t, os.Chown(dir, 65534, 65534)) // a folder that somebody names, with its owner's files
	require.NoError(t, os.Chown(datadir.NodeSocket(dir), 65534, 65534))
	_, err = Look(ctx, dir)
	require.NoError(t, err)
}
