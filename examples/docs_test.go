package examples_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/invoke"
	"github.com/picloud/picloud/executor/risor"
	"github.com/picloud/picloud/executor/risor/module"
)

// The scripts that the documents show compile, load, and answer a GET.
func TestScriptsInTheDocuments(t *testing.T) {
	for file, least := range map[string]int{"../docs/functions.md": 3, "../README.md": 1} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		blocks := strings.Split(string(text), "```ts\n")[1:]
		require.GreaterOrEqual(t, len(blocks), least, file)
		for _, block := range blocks {
			source, _, _ := strings.Cut(block, "```")
			program, err := risor.Compile([]byte(source))
			require.NoError(t, err, source)
			call := newCall(request{}, &host{}, invoke.Fit{})
			require.NoError(t, program.Load(call), source)
			require.NoError(t, program.Invoke(call), source)
			for part, want := range shown {
				if !strings.Contains(source, part) {
					continue
				}
				delete(shown, part)
				call := newCall(want.request, &host{pages: want.pages}, invoke.Fit{})
				require.NoError(t, program.Invoke(call), source)
				require.Equal(t, want.status, call.Response.Status)
				require.Equal(t, want.body, string(call.Response.Body))
				for name, value := range want.header {
					got, _ := call.Response.Header.Get(name)
					require.Equal(t, value, string(got))
				}
			}
		}
	}
	require.Empty(t, shown, "the documents show these")
}

// shown are calls of scripts that the documents show, by a part of the script.
var shown = map[string]struct {
	request
	pages  map[string]page
	status int
	body   string
	header map[string]string
}{
	"let order = req.json()": {request: request{body: `{"items":[1,2]}`}, status: 201, body: `{"count":2}`},
	"let form = req.form()": {
		request: request{
			header: map[string]string{"content-type": "multipart/form-data; boundary=XX"},
			body: "--XX\r\nContent-Disposition: form-data; name=title\r\n\r\nTea\r\n" +
				"--XX\r\nContent-Disposition: form-data; name=table; filename=tea.csv\r\n\r\na;b\n1;2\n\r\n--XX--\r\n",
		},
		status: 200, body: `{"file":"tea.csv","rows":2,"title":"Tea"}`,
	},
	"http.cookie(": {
		request: request{header: map[string]string{"cookie": "theme=dark"}}, status: 200, body: `{"theme":"dark"}`,
		header: map[string]string{"set-cookie": "theme=dark; Path=/fn/default/example; Max-Age=2592000; HttpOnly; SameSite=Lax"},
	},
	"headers: r.headers": {
		request: request{target: "/items"}, pages: map[string]page{"GET https://api.example.org/items": {status: 203, header: "content-length: 2", body: "hi"}},
		status: 203, body: "hi", header: map[string]string{"content-length": "", "content-type": "application/octet-stream"},
	},
}

// The limits that docs/functions.md names are those in force.
func TestLimitsInTheDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/functions.md")
	require.NoError(t, err)
	d := picloud.DefaultLimits()
	for _, row := range []string{
		"| `timeout`: wall time of a call, waiting not counted | 10 s | 10 ms to 15 min | 504 `" + string(picloud.CodeFunctionTimeout) + "`",
		"| 64 MiB | 16 MiB to 2 GiB | 500 `" + string(picloud.CodeFunctionMemory) + "`",
		"| `concurrency`: calls at once, over all nodes; the default and what a node sets: on each node | 32 | 1 to 1,000 |",
		"| `queue`: calls that wait on a node | 128 | 1 to 10,000 | 429 `" + string(picloud.CodeQueueFull) + "`",
		"| `request_body` | 8 MiB | 1 B to 64 MiB | 413 `" + string(picloud.CodeRequestTooLarge) + "`",
		"| `response_body` | 8 MiB | 1 B to 64 MiB | 500 `" + string(picloud.CodeResponseTooLarge) + "`",
		"| `log_bytes`: of one call | 64 KiB | 1 B to 1 MiB |",
		"| `host_calls`: of one call: `kv`, `secrets` and `http` together | 50 | 1 to 10,000 |",
		"| `outbound_calls`: of one call: requests of `http`, redirects included | 20 | 1 to 1,000 |",
		"none: however old | none | 2 min to 365 days | 503 `" + string(picloud.CodeStale) + "` with `Retry-After` |",
	} {
		require.Contains(t, string(text), row)
	}
	require.Equal(t, "10s 64MiB 32 128 8MiB 8MiB 64KiB 50 20 0s", strings.Join([]string{
		d.Timeout.String(), d.Memory.String(), strconv.Itoa(d.Concurrency), strconv.Itoa(d.Queue),
		d.RequestBody.String(), d.ResponseBody.String(), d.LogBytes.String(), strconv.Itoa(d.HostCalls), strconv.Itoa(d.OutboundCalls),
		d.MaxStale.String(),
	}, " "), "the defaults changed: change docs/functions.md and this test")
	for _, m := range module.Modules() {
		for _, f := range m.Functions {
			full := m.Name + "." + f.Name
			require.True(t, strings.Contains(string(text), "`"+full+"(") || strings.Contains(string(text), "`"+f.Name+"`"), "docs/functions.md tells of %s", full)
		}
	}
	for _, a := range risor.RequestDocs() {
		require.Contains(t, string(text), "`"+a.Name, "docs/functions.md tells of req.%s", a.Name)
	}
	for _, b := range module.Builtins() {
		require.Contains(t, string(text), b.Name)
	}
}
