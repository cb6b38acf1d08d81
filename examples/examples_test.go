package examples_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/gateway"
	"github.com/picloud/picloud/agent/invoke"
	"github.com/picloud/picloud/executor/risor"
	"github.com/picloud/picloud/executor/risor/module"
	"github.com/picloud/picloud/executor/wire"
)

// The first case of each example is the one that its first lines show.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("*.risor")
	require.NoError(t, err)
	require.Len(t, files, len(cases), "every example has cases")
	for _, file := range files {
		name := strings.TrimSuffix(file, ".risor")
		t.Run(name, func(t *testing.T) {
			source, err := os.ReadFile(file)
			require.NoError(t, err)
			program, err := risor.Compile(source)
			require.NoError(t, err)
			require.NoError(t, program.Load(newCall(request{}, &host{}, invoke.Fit{})))
			require.GreaterOrEqual(t, len(cases[name]), 4)

			head, _, _ := strings.Cut(string(source), "\n\n")
			var routes []string
			for _, found := range routeFlag.FindAllStringSubmatch(head, -1) {
				routes = append(routes, found[1])
			}
			require.Contains(t, head, "'http://localhost:8080/fn/default/"+name, "the first lines show a call")
			require.True(t, strings.HasPrefix(head, "// "))
			for i, c := range cases[name] {
				t.Run(c.name, func(t *testing.T) {
					body := c.run(t, program, routes)
					if i == 0 && !strings.Contains(head, "…") {
						for line := range strings.Lines(body) {
							require.Contains(t, head, "//   "+strings.TrimSpace(line), "the first lines show the answer")
						}
					}
				})
			}
		})
	}
}

// request is what a caller sends.
type request struct {
	method string // default GET, or POST with a body
	target string // path and query; default "/"
	body   string
	header map[string]string // that the caller sends
}

// example is one call and its answer.
type example struct {
	name string
	request
	on      func(*host)       // prepares the node
	before  []request         // calls before this one, on the same node
	refused bool              // by the routes that the first lines set: no code runs
	status  int               // default 200
	answer  map[string]string // headers that the answer must have
	sent    []string          // requests to other servers, in their order
	body    string            // the whole of it; JSON is compared as such
	has     string            // or a part of it
	logs    []string          // messages, in their order
}

func (c example) run(t *testing.T, program *risor.Program, routes []string) string {
	h := &host{}
	fit, err := fitOf(c.request, routes)
	require.Equal(t, c.refused, err != nil, err)
	if c.refused {
		return ""
	}
	if c.on != nil {
		c.on(h)
	}
	for _, r := range c.before {
		h.asked = 0
		fit, err := fitOf(r, routes)
		require.NoError(t, err)
		require.NoError(t, program.Invoke(newCall(r, h, fit)))
	}
	h.messages, h.sent, h.asked = nil, nil, 0
	call := newCall(c.request, h, fit)
	err = program.Invoke(call)
	var fault *risor.Error
	if errors.As(err, &fault) && fault.Reason == wire.ReasonRequest { // which PiCloud answers for the function
		require.Equal(t, 400, c.status, fault.Message)
		require.Contains(t, fault.Message, c.has)
		require.NotEmpty(t, c.has)
		return fault.Message
	}
	require.NoError(t, err)
	got := string(call.Response.Body)

	if c.status == 0 {
		c.status = 200
	}
	require.Equal(t, c.status, call.Response.Status, got)
	for name, want := range c.answer {
		value, _ := call.Response.Header.Get(name)
		require.Equal(t, want, string(value), name)
	}
	require.Equal(t, c.logs, h.messages)
	if c.sent != nil {
		require.Equal(t, c.sent, append([]string{}, h.sent...))
	}
	contentType, _ := call.Response.Header.Get("content-type")
	if string(contentType) == "application/json" {
		require.True(t, json.Valid(call.Response.Body))
	}
	if c.has != "" {
		require.Contains(t, got, c.has)
	} else {
		require.Equal(t, c.body, got)
	}
	if c.status >= 400 {
		require.True(t, strings.Contains(got, `"error":"`) || strings.Contains(got, `"reason":"`), "an error says why: %s", got)
	}
	return got
}

// routeFlag is a route in the first lines of an example.
var routeFlag = regexp.MustCompile(`--route '([^']+)'`)

// fitOf finds the route that a request fits, as the node does.
func fitOf(r request, routes []string) (invoke.Fit, error) {
	method, path, _ := r.parts()
	return gateway.FitOf(&picloud.Function{Settings: picloud.Settings{Routes: routes}}, picloud.Request{Method: method, Path: path})
}

func (r request) parts() (method, path, query string) {
	method = r.method
	if method == "" && r.body != "" {
		method = "POST"
	}
	path, query, _ = strings.Cut(r.target, "?")
	return cmp.Or(method, "GET"), cmp.Or(path, "/"), query
}

func newCall(r request, h *host, fit invoke.Fit) *risor.Call {
	method, path, query := r.parts()
	var header wire.Pairs
	for name, value := range r.header {
		header = header.AppendPair(name, value)
	}
	if r.body != "" && r.header["content-type"] == "" { // as curl -d says
		header = header.AppendPair("content-type", "application/x-www-form-urlencoded")
	}
	env, err := wire.Marshal(h.env)
	if err != nil {
		panic(err) // a fault of the test's own
	}
	return &risor.Call{
		Handler: "handle", App: "default", Function: "example", Version: 1,
		Deadline: time.Now().Add(10 * time.Second), MaxResponse: 8 << 20,
		Access: module.Access{
			Env:  module.NewEnv(env),
			Host: h,
			Request: &wire.Invocation{
				Method: []byte(method), Route: []byte(fit.Route), Params: fit.Params, Path: []byte(path), Base: []byte("/fn/default/example"), Query: []byte(query), Body: []byte(r.body),
				ID: []byte("01X"), ClientIP: []byte("192.0.2.1"), Header: header,
			},
		},
	}
}

// query encodes one parameter.
func query(name, value string) string { return "/?" + url.Values{name: {value}}.Encode() }
