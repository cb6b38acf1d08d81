package local

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

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
func (f *fake) NewToken(context.Context, string) (token, saved string, err error) {
	return "", "", errors.New("the fake has no users")
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
	for _, err := range []error{Reload(t.Context(), dir), second(Stop(t.Context(), dir))} {
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
	for _, c := range []string{"GET /stop", "GET /reload", "POST /status", "GET /config/", "GET /debug/pprof/"} {
		method, path, _ := strings.Cut(c, " ")
		require.Error(t, ask(t.Context(), dir, method, path, nil), c)
	}
	require.Zero(t, f.stops.Load())
	require.NoError(t, ask(t.Context(), dir, http.MethodGet, "/status", nil))
}
