package test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestServesWithoutItsDatabase kills PostgreSQL for good and then restarts the
// node: functions answer all along, and changes are refused cleanly.
func TestServesWithoutItsDatabase(t *testing.T) {
	n := newNode(t).start()
	n.deploy("hello", hello)
	n.stop()
	require.NoError(t, os.Rename(filepath.Join(n.data, "postgres"), filepath.Join(n.data, "gone")))
	require.NoError(t, os.WriteFile(filepath.Join(n.data, "postgres"), nil, 0o600)) // no server can be made here

	n.start()
	status, body := n.call("hello")
	require.Equal(t, http.StatusOK, status, body)
	resp, body, err := n.request(http.MethodPut, n.control+"/api/v1/apps/default/functions/hello/code", hello, "Authorization", "Bearer "+n.token())
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, body)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
}

// TestDatabaseDiesDuringADeploy leaves no half version.
func TestDatabaseDiesDuringADeploy(t *testing.T) {
	n := newNode(t).start()
	n.deploy("f", `function handle(req) { return "version 1" }`)
	for i := 2; i < 6; i++ {
		var deploy sync.WaitGroup
		var status int
		var answer, retry string
		deploy.Go(func() {
			resp, body, err := n.request(http.MethodPut, n.control+"/api/v1/apps/default/functions/f/code?deploy=true&wait=all",
				fmt.Sprintf(`function handle(req) { return "version %d" }`, i), "Authorization", "Bearer "+n.token())
			if err == nil {
				status, answer, retry = resp.StatusCode, body, resp.Header.Get("Retry-After")
			}
		})
		jitter := time.NewTimer(rand.N(40 * time.Millisecond))
		<-jitter.C
		n.killPostgres(syscall.SIGKILL)
		deploy.Wait()
		code, body := n.call("f")
		require.Equal(t, http.StatusOK, code, "functions answer on: %s", body)
		n.awaitDatabase()
		switch status {
		case http.StatusCreated, http.StatusOK, http.StatusAccepted:
			n.await("the acknowledged version", 20*time.Second, func() bool {
				_, body := n.call("f")
				return body == fmt.Sprintf("version %d", i)
			})
		default:
			require.Equal(t, http.StatusServiceUnavailable, status, answer)
			require.NotEmpty(t, retry)
		}
		// Whatever happened, what is listed as live is what is served.
		n.await("the served version to be the live one", 20*time.Second, func() bool {
			_, listed := n.api(http.MethodGet, "/apps/default/functions/f", "")
			var live struct{ Version int }
			if json.Unmarshal([]byte(listed), &live) != nil || live.Version == 0 {
				return false
			}
			_, code := n.api(http.MethodGet, fmt.Sprintf("/apps/default/functions/f/versions/%d/code", live.Version), "")
			_, served := n.call("f")
			return strings.Contains(code, fmt.Sprintf("%q", served))
		})
	}
}

// TestKillNine kills the node, an executor or PostgreSQL at random moments
// under load. Everything that was acknowledged is there afterwards.
func TestKillNine(t *testing.T) {
	n := newNode(t).start()
	n.deploy("steady", hello)
	acknowledged := map[string]string{} // function → what it must answer
	for round := range 6 {
		var load sync.WaitGroup
		var stop atomic.Bool
		for range 2 {
			load.Go(func() {
				for !stop.Load() {
					if status, body := n.call("steady"); status == http.StatusOK {
						if body != `{"hello":"world"}` {
							t.Errorf("a wrong answer: %s", body)
						}
					}
				}
			})
		}
		var mu sync.Mutex
		load.Go(func() {
			for i := 0; !stop.Load(); i++ {
				name, answer := fmt.Sprintf("f%d", rand.IntN(5)), fmt.Sprintf("%d-%d", round, i)
				status, _ := n.put("default", name, fmt.Sprintf(`function handle(req) { return %q }`, answer))
				mu.Lock()
				if status == http.StatusCreated || status == http.StatusOK {
					acknowledged[name] = answer
				} else {
					// Unknown: the commit may have happened although nobody heard of it.
					delete(acknowledged, name)
				}
				mu.Unlock()
			}
		})
		pause := time.NewTimer(100*time.Millisecond + time.Duration(rand.IntN(300))*time.Millisecond)
		<-pause.C
		victim := []string{"agent", "worker", "postgres"}[round%3]
		switch victim {
		case "agent":
			require.NoError(t, n.cmd.Process.Kill())
			<-n.exited
		case "worker":
			for _, pid := range n.workers() {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		case "postgres":
			n.killPostgres(syscall.SIGKILL)
		}
		stop.Store(true)
		load.Wait()
		if victim == "agent" {
			n.start()
		}
		n.awaitDatabase()
		for name, want := range acknowledged {
			n.await(fmt.Sprintf("%s to answer %s after the %s died", name, want, victim), 20*time.Second, func() bool {
				status, body := n.call(name)
				return status == http.StatusOK && body == want
			})
		}
		status, body := n.call("steady")
		require.Equal(t, http.StatusOK, status, body)
	}
}

// TestDamagedDiskCopy flips bytes in the catalog's copy: the node falls back,
// and fetches what is missing as soon as the database is there.
func TestDamagedDiskCopy(t *testing.T) {
	n := newNode(t).start()
	n.deploy("one", `function handle(req) { return "one" }`)
	n.deploy("two", `function handle(req) { return "two" }`)
	catalog := filepath.Join(n.data, "catalog")
	for name, damage := range map[string]func() []string{
		"manifest": func() []string { return []string{filepath.Join(catalog, "manifest.json")} },
		"objects": func() []string {
			objects, err := filepath.Glob(filepath.Join(catalog, "objects", "*"))
			require.NoError(t, err)
			return objects
		},
	} {
		t.Run(name, func(t *testing.T) {
			n.stop()
			for _, path := range damage() {
				raw, err := os.ReadFile(path)
				require.NoError(t, err)
				raw[len(raw)/2] ^= 0xff
				require.NoError(t, os.WriteFile(path, raw, 0o600))
			}
			n.start()
			for _, f := range []string{"one", "two"} {
				n.await(f+" to be served again", 20*time.Second, func() bool {
					status, body := n.call(f)
					return status == http.StatusOK && body == f
				})
			}
		})
	}
}

// TestFullDisk fills the node's disk: deploys fail with a clear error or are
// served, functions answer on, and nothing is lost once there is room again.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("mounting a small disk needs root; make test runs as root in CI")
		return
	}
	n := newNode(t)
	require.NoError(t, os.Mkdir(n.data, 0o711))
	require.NoError(t, syscall.Mount("tmpfs", n.data, "tmpfs", 0, "size=160m,mode=0711"))
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(n.data, syscall.MNT_DETACH)) })
	// The node stops before the disk goes away.
	t.Cleanup(func() { n.stop(); n.killPostgres(syscall.SIGQUIT) })
	n.start()
	n.deploy("f", `function handle(req) { return "before" }`)

	ballast := filepath.Join(n.data, "ballast")
	fill(t, ballast)
	status, body, err := n.get(n.control + "/readyz")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "it serves")
	require.Contains(t, body, `"degraded"`)
	require.Contains(t, body, `"disk_space"`)
	served := "before"
	for i := range 5 {
		answer := fmt.Sprintf("full %d", i)
		status, body := n.put("default", "f", fmt.Sprintf(`function handle(req) { return %q }`, answer))
		switch status {
		case http.StatusCreated:
			served = answer
		case http.StatusAccepted: // committed and served, but a power cut would lose this node's copy
			require.Contains(t, body, `"complete":false`)
			require.Contains(t, body, `"missing":["pi-1"]`)
			served = answer
		default:
			require.GreaterOrEqual(t, status, 500, body)
			require.Contains(t, body, `"code"`)
		}
		code, got := n.call("f")
		require.Equal(t, http.StatusOK, code, got)
	}
	n.stop()
	n.killPostgres(syscall.SIGQUIT)
	fill(t, ballast+"2") // what they had open is free again
	n.start()
	code, got := n.call("f")
	require.Equal(t, http.StatusOK, code, got)

	require.NoError(t, os.Remove(ballast))
	require.NoError(t, os.Remove(ballast+"2"))
	n.awaitDatabase()
	n.await("what was acknowledged", 30*time.Second, func() bool { _, body := n.call("f"); return body == served })
	n.await("a deploy after there is room again", 30*time.Second, func() bool {
		status, _ := n.put("default", "f", `function handle(req) { return "after" }`)
		return status == http.StatusCreated || status == http.StatusOK
	})
	_, body = n.call("f")
	require.Equal(t, "after", body)
}

// fill takes all the room that is left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer f.Close()
	for size := 1 << 20; size >= 1; size /= 2 {
		for chunk := make([]byte, size); ; {
			if _, err := f.Write(chunk); err != nil {
				require.ErrorIs(t, err, syscall.ENOSPC)
				break
			}
		}
	}
}
