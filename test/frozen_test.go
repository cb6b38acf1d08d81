package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// postgres lists every process of the node's server.
func (n *node) postgres() (pids []int) {
	n.t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*/cwd")
	require.NoError(n.t, err)
	for _, folder := range folders {
		if cwd, err := os.Readlink(folder); err == nil && cwd == filepath.Join(n.data, "postgres") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
			require.NoError(n.t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// signalPostgres sends a signal to every process of the node's server.
func (n *node) signalPostgres(sig syscall.Signal) {
	n.t.Helper()
	pids := n.postgres()
	require.NotEmpty(n.t, pids)
	for _, pid := range pids {
		syscall.Kill(pid, sig) // one that ended meanwhile needs none
	}
}

// TestAFrozenDatabaseCostsSeconds stops every process of PostgreSQL, so that no timeout of
// the server works. Each call of the control API ends after the node's own bound, functions
// answer on, /readyz says what is missing, and everything works when the server goes on.
func TestAFrozenDatabaseCostsSeconds(t *testing.T) {
	n := newNode(t).start()
	n.deploy("hello", hello)
	n.deploy("count", `function handle(req) { return kv.incr("n") }`)
	status, body := n.call("count")
	require.Equal(t, http.StatusOK, status, body)
	calls := [][3]string{
		{http.MethodGet, "/session", ""},
		{http.MethodGet, "/apps", ""},
		{http.MethodGet, "/nodes", ""},
		{http.MethodGet, "/apps/default/functions/hello", ""},
		{http.MethodPut, "/apps/default/kv/k", "1"},
		{http.MethodPut, "/apps/default/env", `{"A":"1"}`},
		{http.MethodPut, "/apps/default/functions/hello/code?deploy=true", hello + "\n"},
		{http.MethodPatch, "/nodes/pi-1", `{"limits":{"queue":3}}`},
	}
	for _, c := range calls {
		status, body := n.api(c[0], c[1], c[2])
		require.Less(t, status, 300, "%s %s: %s", c[0], c[1], body)
	}

	n.signalPostgres(syscall.SIGSTOP)
	thaw := func() { n.signalPostgres(syscall.SIGCONT) }
	frozen := true
	t.Cleanup(func() {
		if frozen {
			thaw()
		}
	})
	var wg sync.WaitGroup
	for _, c := range calls {
		wg.Go(func() {
			begun := time.Now()
			if status, body := n.api(c[0], c[1], c[2]); status != http.StatusServiceUnavailable {
				t.Errorf("%s %s: %d %s", c[0], c[1], status, body)
			}
			if took := time.Since(begun); took > 8*time.Second {
				t.Errorf("%s %s took %s", c[0], c[1], took)
			}
		})
	}
	wg.Go(func() {
		begun := time.Now()
		if status, body := n.call("count"); status != http.StatusInternalServerError || time.Since(begun) > 8*time.Second {
			t.Errorf("kv: %d %s after %s", status, body, time.Since(begun))
		}
	})
	wg.Wait()
	status, body = n.call("hello")
	require.Equal(t, http.StatusOK, status, body)
	status, body, err := n.get(n.control + "/readyz")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"status":"degraded","missing":["database"]}`, body)

	thaw()
	frozen = false
	begun := time.Now()
	for _, c := range calls {
		status, body := n.api(c[0], c[1], c[2])
		require.Less(t, status, 300, "%s %s: %s", c[0], c[1], body)
	}
	status, body = n.call("count")
	require.Equal(t, http.StatusOK, status, body)
	require.Less(t, time.Since(begun), 5*time.Second)
	n.await("the node to be whole again", 40*time.Second, func() bool {
		_, body, err := n.get(n.control + "/readyz")
		return err == nil && strings.Contains(body, `"ready"`)
	})
}

// TestCallsRightAfterAStartWait: a call that needs the database waits for the first
// connection to it.
func TestCallsRightAfterAStartWait(t *testing.T) {
	n := newNode(t).start()
	n.deploy("count", `function handle(req) { return kv.incr("n") }`) // at once, too
	for i := range 9 {
		n.stop()
		n.start()
		status, body := n.call("count")
		require.Equal(t, http.StatusOK, status, body)
		require.Equal(t, fmt.Sprint(i+1), body)
		status, body = n.api(http.MethodGet, "/apps", "")
		require.Equal(t, http.StatusOK, status, body)
	}
}
