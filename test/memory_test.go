package test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	// overIdle is what the process of a node may take more than when it is idle, in MiB.
	overIdle = 300
	// atOnce is how many callers do the same at one time.
	atOnce = 32
)

// load is something that makes a node hold bytes that others choose.
type load struct {
	name   string
	source string // of a function of an app of its own; empty: none
	method string // default: GET
	path   string // below the function, or of the control API when source is empty
	body   string
	rounds int
	// works: at least one call succeeds. The executor of the others may end of its own limit.
	works bool
}

// TestMemoryOfANode: whatever functions, callers, upstreams and the database send, the
// process of the node stays within its bound.
func TestMemoryOfANode(t *testing.T) {
	const large = 8_000_000
	var bomb bytes.Buffer // 64 MiB of zeros
	z := gzip.NewWriter(&bomb)
	_, err := z.Write(make([]byte, 64<<20))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = io.WriteString(w, strings.Repeat("y", 11_900_000))
		case "/endless":
			for block := strings.Repeat("z", 64<<10); ; {
				if _, err := io.WriteString(w, block); err != nil {
					return
				}
			}
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		case "/fields":
			for i := range 3500 {
				w.Header()["X"+strconv.Itoa(i)] = []string{"1"}
			}
		}
	}))
	defer upstream.Close()

	n := newNode(t).start()
	n.awaitDatabase()
	fetch := func(path string) string {
		return `function handle(req) { return try { string(len(http.fetch("` + upstream.URL + path + `", {max_body: 12582912}).body)) } catch (e) { e.code } }`
	}
	nested := `[` + strings.Repeat(`[`+strings.Repeat(`{},`, 9_999)+`{}],`, 19) + `[]]` // 190,000 empty objects
	loads := []load{
		{name: "listed", works: true, rounds: 3, source: `function handle(req) { return string(len(kv.list({prefix: "t"}).items)) }`},
		{name: "read", works: true, rounds: 3, source: `function handle(req) { return string(len(kv.get("t1"))) }`},
		{name: "nested-list", rounds: 2, source: `function handle(req) { return string(len(kv.list({prefix: "n"}).items)) }`},
		{name: "nested-get", rounds: 2, source: `function handle(req) { return string(len(kv.get("n1"))) }`},
		{name: "arguments", rounds: 2, source: `function handle(req) { let v = "v".repeat(8000000); return try { http.fetch("http://127.0.0.1:1/", {method: "POST", body: v}) } catch (e) { e.code } }`},
		{name: "fetched", works: true, rounds: 2, source: fetch("/large")},
		{name: "endless", works: true, rounds: 2, source: fetch("/endless")},
		{name: "bombs", works: true, rounds: 1, source: fetch("/bomb")},
		{name: "fields", works: true, rounds: 2, source: fetch("/fields")},
		{name: "uploads", works: true, rounds: 2, method: http.MethodPost, body: strings.Repeat("b", large), source: `function handle(req) { return string(len(req.body)) }`},
		{name: "echoes", works: true, rounds: 2, method: http.MethodPost, body: strings.Repeat("b", large), source: `function handle(req) { return req.body }`},
		{name: "answers", works: true, rounds: 2, source: `function handle(req) { return "a".repeat(4000000) }`},
		{name: "logs", rounds: 3, source: `function handle(req) { let m = {}; let l = range(15000).map(i => m); range(40).each(i => log.info("x".repeat(1000), {l: l})); return "ok" }`},

		{name: "values of the API", works: true, rounds: 3, path: "/apps/read/kv/n1"},
		{name: "lists of the API", works: true, rounds: 3, path: "/apps/read/kv?limit=200"},
		{name: "values for the API", works: true, rounds: 3, method: http.MethodPut, path: "/apps/read/kv/n2", body: nested},
		{name: "logs of the API", works: true, rounds: 2, path: "/apps/logs/logs?tail=1000"},
		{name: "drafts", rounds: 1, method: http.MethodPost, path: "/apps/read/functions/x/test", body: `{"source":"function handle(req) { return \"d\".repeat(8000000) }"}`},
	}
	for _, l := range loads {
		if l.source == "" {
			continue
		}
		status, answer := n.api(http.MethodPost, "/apps", `{"name":"`+l.name+`"}`)
		require.Equal(t, http.StatusCreated, status, answer)
		status, answer = n.put(l.name, "f", l.source)
		require.Equal(t, http.StatusCreated, status, answer)
		status, answer = n.api(http.MethodPatch, "/apps/"+l.name+"/functions/f", `{"settings":{"egress":["127.0.0.0/8"],"limits":{"memory":"512MiB"}}}`)
		require.Equal(t, http.StatusOK, status, answer)
	}
	for _, app := range []string{"listed", "read", "nested-list", "nested-get"} {
		for i := range 5 {
			status, answer := n.api(http.MethodPut, fmt.Sprintf("/apps/%s/kv/t%d", app, i), `"`+strings.Repeat("t", 250_000)+`"`)
			require.Equal(t, http.StatusOK, status, answer)
			status, answer = n.api(http.MethodPut, fmt.Sprintf("/apps/%s/kv/n%d", app, i), nested)
			require.Equal(t, http.StatusOK, status, answer)
		}
		for i := range 200 { // a thousand empty maps each, small enough to be shown in lists
			status, answer := n.api(http.MethodPut, fmt.Sprintf("/apps/%s/kv/a%d", app, i), `[`+strings.Repeat(`{},`, 999)+`{}]`)
			require.Equal(t, http.StatusOK, status, answer)
		}
	}
	idle := n.peak()
	for _, l := range loads {
		good := n.burden(l)
		if l.works {
			require.Positive(t, good, l.name)
		}
		peak := n.peak()
		t.Logf("%-20s %d MiB over idle, %d of %d calls succeeded", l.name, peak-idle, good, atOnce*l.rounds)
		require.Less(t, peak-idle, overIdle, "MiB over the %d when idle: %s", idle, l.name)
	}
}

// burden calls atOnce times at once, and returns how many calls were answered with 200.
func (n *node) burden(l load) (good int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	method := l.method
	if method == "" {
		method = http.MethodGet
	}
	to, header := n.control+"/api/v1"+l.path, []string{"Authorization", "Bearer " + n.token(), "Content-Type", "application/json"}
	if l.source != "" {
		to, header = n.functions+"/fn/"+l.name+"/f"+l.path, nil
	}
	for range atOnce {
		wg.Go(func() {
			for range l.rounds {
				resp, _, err := n.request(method, to, l.body, header...)
				if err == nil && resp.StatusCode == http.StatusOK {
					mu.Lock()
					good++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return good
}

// peak is the most memory that the process had since the last time, in MiB.
func (n *node) peak() int {
	n.t.Helper()
	dir := fmt.Sprintf("/proc/%d/", n.cmd.Process.Pid)
	status, err := os.ReadFile(dir + "status")
	require.NoError(n.t, err)
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	require.True(n.t, found)
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(n.t, err)
	require.NoError(n.t, os.WriteFile(dir+"clear_refs", []byte("5"), 0)) // begins anew with what there is now
	return kib >> 10
}
