package test

import (
	"flag"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// counts is how far each client counts: `go test ./test -run Counters -counts
// 1000` makes five thousand, which takes half a minute on two busy cores.
var counts = flag.Int("counts", 200, "how far each client of a counter counts")

// TestCountersOfScriptsLoseNothing: five clients that count to a thousand each
// make five thousand, by compare-and-set and by kv.incr at the same time.
func TestCountersOfScriptsLoseNothing(t *testing.T) {
	const clients = 5
	n := newNode(t).start()
	n.awaitDatabase()
	n.deploy("count", `
function swap(left) {
  let e = kv.entry("swapped") ?? {value: 0, version: 0}
  if (left == 0 || kv.cas("swapped", e.version, e.value + 1) != false) { return left }
  return swap(left - 1)
}
function handle(req) {
  kv.incr("added")
  return {lost: swap(400) == 0}
}`)
	n.deploy("sums", `function handle(req) { return [kv.get("added"), kv.get("swapped")] }`)
	status, answer := n.api(http.MethodPatch, "/apps/default/functions/count", `{"settings":{"limits":{"host_calls":1000}}}`)
	require.Equal(t, http.StatusOK, status, answer)
	wrong := make([]string, clients)
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			for range *counts {
				status, body, err := n.get(n.functions + "/fn/default/count")
				if err != nil || body != `{"lost":false}` {
					wrong[i] = strconv.Itoa(status) + " " + body
					return
				}
			}
		})
	}
	running.Wait()
	require.Equal(t, make([]string, clients), wrong)
	_, body := n.call("sums")
	require.Equal(t, fmt.Sprintf("[%d,%d]", clients**counts, clients**counts), body)
}
