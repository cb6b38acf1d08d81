package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

const helloCode = "/api/v1/apps/shop/functions/hello/code"

func TestPutCode(t *testing.T) {
	s := newShop(t)
	r := s.do("PUT", "/api/v1/apps/shop/functions/cart/code?create=true&deploy=true&wait=all", s.developer, hello, "Content-Type", "text/plain")
	require.Equal(t, 201, r.status, r.body)
	require.Equal(t, "/api/v1/apps/shop/functions/cart/versions/1", r.header.Get("Location"))
	var d client.Deployed
	r.json(t, &d)
	require.Equal(t, 1, d.Version.Number)
	require.Equal(t, picloud.DigestOf([]byte(hello)), d.Version.Digest)
	require.Equal(t, "/fn/shop/cart", d.Path)
	require.Equal(t, picloud.Acks{Rev: d.Deployment.Rev, Nodes: []string{"pi-1"}, Missing: []string{}, Complete: true}, *d.Acks)
	require.Positive(t, d.Timings.Total)
	require.GreaterOrEqual(t, d.Timings.Total, d.Timings.Compile+d.Timings.Publish)

	r = s.do("PUT", "/api/v1/apps/shop/functions/cart/code", s.developer, hello)
	require.Equal(t, 200, r.status, "identical code makes no version")
	r.json(t, &d)
	require.True(t, d.Existing)
	require.Equal(t, 1, d.Version.Number)

	r = s.do("PUT", "/api/v1/apps/shop/functions/absent/code", s.developer, hello)
	require.Equal(t, 404, r.status, "without create=true nothing is created")

	r = s.do("PUT", "/api/v1/apps/fresh/functions/hello/code?create=true", s.developer, hello)
	require.Equal(t, 404, r.status, "only admins get an app created")
	r = s.do("PUT", "/api/v1/apps/fresh/functions/hello/code?create=true", s.admin, hello)
	require.Equal(t, 201, r.status, r.body)
}

func TestPutCodeThatNotEveryNodeServes(t *testing.T) {
	s := newShop(t)
	s.agent.complete = false
	r := s.do("PUT", helloCode+"?wait=quorum", s.developer, hello+" ")
	require.Equal(t, 202, r.status, r.body)
	var d client.Deployed
	r.json(t, &d)
	require.False(t, d.Acks.Complete)
	require.Equal(t, "quorum", s.agent.waited[len(s.agent.waited)-1])

	s.agent.awaitErr = errors.New("nobody knows")
	r = s.do("PUT", helloCode, s.developer, hello+"  ")
	require.Equal(t, 202, r.status, "what is committed is no error")
	require.NotContains(t, r.body, "nobody knows")
	require.Contains(t, s.logged.String(), "nobody knows")
	r = s.do("POST", "/api/v1/apps/shop/functions/hello/rollback", s.developer, "")
	require.Equal(t, 202, r.status, r.body)
}

func TestBrokenCodeChangesNothing(t *testing.T) {
	s := newShop(t)
	before := s.do("GET", "/api/v1/apps/shop/functions/hello", s.viewer, "")
	for name, tt := range map[string]struct {
		source       string
		status       int
		code         picloud.Code
		line, column int
		excerpt      string
	}{
		"does not compile": {"let a = 1\n  let BROKEN\n", 422, picloud.CodeScript, 2, 7, "  let BROKEN"},
		"no handler":       {"LAZY", 422, picloud.CodeScript, 1, 1, ""},
		"empty":            {"", 422, picloud.CodeScript, 1, 1, ""},
		"blank":            {" \n\t", 422, picloud.CodeScript, 1, 1, ""},
		"not UTF-8":        {"let a = 1\nlet é = \"\xff\"", 422, picloud.CodeScript, 2, 10, ""},
		"a little long":    {strings.Repeat("#", picloud.MaxSourceSize+1), 422, picloud.CodeSourceBounds, 0, 0, ""},
		"far too long":     {strings.Repeat("#", 1<<20), 413, picloud.CodeTooLarge, 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, call := range [][2]string{{"PUT", helloCode}, {"POST", "/api/v1/apps/shop/functions/hello/validate"}} {
				r := s.do(call[0], call[1], s.developer, tt.source)
				require.Equal(t, tt.status, r.status, r.body)
				p := r.problem(t)
				require.Equal(t, tt.code, p.Code)
				if tt.line == 0 { // too long: the limit is that of scripts, and there is a way out
					require.Contains(t, p.Detail, "65536")
					require.Contains(t, p.Hint, "split")
				}
				require.Equal(t, []any{tt.line, tt.column, tt.excerpt}, []any{p.Line, p.Column, p.Excerpt})
			}
		})
	}
	after := s.do("GET", "/api/v1/apps/shop/functions/hello", s.viewer, "")
	require.Equal(t, before.body, after.body)
	r := s.do("GET", "/api/v1/apps/shop/functions/hello/versions", s.viewer, "")
	require.Equal(t, 1, strings.Count(r.body, `"number"`))
}

func TestCodeOfExactlyTheLimit(t *testing.T) {
	s := newShop(t)
	source := hello + strings.Repeat("\n", picloud.MaxSourceSize-len(hello))
	r := s.do("PUT", helloCode, s.developer, source)
	require.Equal(t, 201, r.status, r.body)
	r = s.do("GET", "/api/v1/apps/shop/functions/hello/versions/2/code", s.viewer, "")
	require.Equal(t, source, r.body)
	require.Equal(t, "text/plain", r.header.Get("Content-Type"))
}

func TestCodeOfUnknownLengthIsBounded(t *testing.T) {
	s := newShop(t)
	endless := io.LimitReader(repeated('#'), 200<<10)
	req, err := http.NewRequestWithContext(t.Context(), "PUT", s.url+helloCode, endless) // chunked
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+s.developer)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 413, resp.StatusCode)
}

type repeated byte

func (r repeated) Read(b []byte) (int, error) {
	copy(b, bytes.Repeat([]byte{byte(r)}, len(b)))
	return len(b), nil
}

func TestCodeIsNoForm(t *testing.T) {
	s := newShop(t)
	r := s.do("PUT", helloCode, s.developer, "--x\r\n\r\n"+hello+"\r\n--x--", "Content-Type", "multipart/form-data; boundary=x")
	require.Equal(t, 400, r.status)
	require.Contains(t, r.problem(t).Hint, "curl -T")
	r = s.do("PUT", helloCode, s.developer, hello+"\t", "Content-Type", "application/x-www-form-urlencoded")
	require.Equal(t, 201, r.status, "curl --data-binary says so of everything")
}

func TestDraft(t *testing.T) {
	s := newShop(t)
	const test = "/api/v1/apps/shop/functions/hello/test"
	r := s.do("POST", test, s.developer, `{"request":{"method":"post","path":"a","query":"b=1","headers":{"x-a":"1"},"body":"hi"}}`)
	require.Equal(t, 200, r.status, r.body)
	require.Equal(t, hello, s.agent.source, "the live version is the default")
	require.Equal(t, "POST /a?b=1 hi 1 127.0.0.1", s.agent.drafted.Method+" "+s.agent.drafted.Path+"?"+s.agent.drafted.Query+" "+
		string(s.agent.drafted.Body)+" "+s.agent.drafted.Header.Get("X-A")+" "+s.agent.drafted.ClientIP)
	var d client.DraftResult
	r.json(t, &d)
	require.Equal(t, client.DraftResponse{Status: 200, Headers: map[string][]string{"X-Hi": {"1"}}, Body: "hi", Encoding: client.EncodingText}, *d.Response)
	require.Equal(t, "drafted", d.Logs[0].Message)
	require.Contains(t, r.body, `"effects":{"writes":[{"key":"k","op":"set","size":3}],"requests":[{"method":"GET","url":"https://a.example/","sent":false}]}`)

	r = s.do("POST", test, s.developer, `{"source":"draft","net":true,"request":{"body":"/w==","encoding":"base64"}}`)
	r.json(t, &d)
	require.True(t, d.Effects.Requests[0].Sent)
	require.Equal(t, "draft", s.agent.source)
	require.Equal(t, []byte{0xff}, s.agent.drafted.Body)
	require.Equal(t, client.EncodingBase64, d.Response.Encoding)
	require.Equal(t, "/w==", d.Response.Body)

	r = s.do("POST", "/api/v1/apps/shop/functions/none/test", s.developer, `{"source":"draft"}`)
	require.Equal(t, 200, r.status, "a draft needs no function")
	r = s.do("POST", "/api/v1/apps/shop/functions/none/test", s.developer, `{}`)
	require.Equal(t, 404, r.status)

	s.agent.draftErr = &picloud.Error{Code: picloud.CodeFunctionError, Op: "call", Script: &picloud.ScriptError{Line: 3, Message: "no key"}}
	d = client.DraftResult{}
	r = s.do("POST", test, s.developer, `{}`)
	require.Equal(t, 200, r.status, r.body)
	r.json(t, &d)
	require.Nil(t, d.Response)
	require.Equal(t, picloud.CodeFunctionError, d.Error.Code)
	require.Equal(t, 3, d.Error.Line)
	require.Len(t, d.Logs, 1, "logs come with a failure")

	s.agent.draftErr = &picloud.Error{Code: picloud.CodeBusy}
	r = s.do("POST", test, s.developer, `{}`)
	require.Equal(t, 503, r.status)
	require.Equal(t, "2", r.header.Get("Retry-After"))
}

func TestDraftRequestsAreChecked(t *testing.T) {
	s := newShop(t)
	for body, field := range map[string]string{
		`{"request":{"method":"G T"}}`:                                      "request.method",
		`{"request":{"path":"` + strings.Repeat("p", 9000) + `"}}`:          "request.path",
		`{"request":{"headers":{"a b":"1"}}}`:                               "request.headers",
		`{"request":{"headers":{"a":"1\r\nb: 2"}}}`:                         "request.headers",
		`{"request":{"headers":{"a":["1"]}}}`:                               "request.headers.a",
		`{"request":{"body":"?","encoding":"base64"}}`:                      "request.body",
		`{"request":{"encoding":"rot13"}}`:                                  "request.encoding",
		`{"request":{"bdoy":"x"}}`:                                          "request.bdoy",
		`{"sauce":"x"}`:                                                     "sauce",
		`{"request":{"body":"` + strings.Repeat("x", 1<<20) + `"}}`:         "",
		`{"source":"` + strings.Repeat("x", picloud.MaxSourceSize+1) + `"}`: "",
	} {
		r := s.do("POST", "/api/v1/apps/shop/functions/hello/test", s.developer, body)
		p := r.problem(t)
		switch {
		case field != "":
			require.Equal(t, 400, r.status, r.body)
			require.Equal(t, field, p.Errors[0].Field)
		default:
			require.Contains(t, []picloud.Code{picloud.CodeTooLarge, picloud.CodeSourceBounds}, p.Code)
		}
	}
}

func TestWaitNoneIsPassedOn(t *testing.T) {
	s := newShop(t)
	require.Equal(t, 201, s.do("PUT", helloCode+"?wait=none", s.developer, hello+"\n").status)
	require.Equal(t, "none", s.agent.waited[len(s.agent.waited)-1])
}

func TestDraftPaths(t *testing.T) {
	for _, c := range []struct{ given, path, raw string }{
		{"", "/", ""}, {"items", "/items", ""}, {"/a%2Fb%20c", "/a/b c", "/a%2Fb%20c"}, {"/a b", "/a b", "/a%20b"}, {"/é", "/é", "/%C3%A9"},
	} {
		req, err := draftRequest(t.Context(), client.DraftRequest{Path: c.given})
		require.NoError(t, err, c.given)
		require.Equal(t, c.path, req.Path)
		require.Equal(t, c.raw, req.RawPath)
	}
	_, err := draftRequest(t.Context(), client.DraftRequest{Path: "/100%"})
	require.ErrorContains(t, err, "percent sign")
	for _, path := range []string{"/a/../b", "/a%2F%2e%2e", "..", "/%ff", "/%00", "/a\x7f"} {
		_, err := draftRequest(t.Context(), client.DraftRequest{Path: path})
		require.Equal(t, picloud.CodePath, picloud.CodeOf(err), "%s: a call with that path is refused, too", path)
	}
}
