package command

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// script answers one request after the other.
type script struct {
	answers []func() *http.Response
	bodies  []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	body := []byte{}
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	s.bodies = append(s.bodies, string(body))
	next := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	return next(), nil
}

func answering(status int, body string, header ...string) func() *http.Response {
	return func() *http.Response {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}
	}
}

// TestACommandWaitsForAManager: what is safe to repeat is repeated while the cluster has no
// manager, with one line, and for a bounded time.
func TestACommandWaitsForAManager(t *testing.T) {
	none := `{"code":"` + string(picloud.CodeNoManager) + `"}`
	down := `{"code":"` + string(picloud.CodeDatabaseDown) + `"}`
	deposed := `{"code":"` + string(picloud.CodeDeposed) + `"}`
	ok := answering(200, "done")
	for name, c := range map[string]struct {
		method string
		first  func() *http.Response
		always bool
		status int
		sent   int
		took   time.Duration
		says   string // default: has no manager
	}{
		"a read":                     {method: "GET", first: answering(503, none, "Retry-After", "2"), status: 200, sent: 2, took: 2 * time.Second},
		"a deploy":                   {method: "PUT", first: answering(503, none), status: 200, sent: 2, took: time.Second},
		"a removal":                  {method: "DELETE", first: answering(503, none), status: 200, sent: 2, took: time.Second},
		"what may have been done":    {method: "POST", first: answering(503, none), status: 503, sent: 1},
		"what was not sent":          {method: "POST", first: answering(503, none, picloud.NotSentHeader, "true"), status: 200, sent: 2, took: time.Second},
		"a manager no more":          {method: "POST", first: answering(503, deposed, picloud.NotSentHeader, "true"), status: 200, sent: 2, took: time.Second, says: "gets another manager"},
		"another trouble":            {method: "GET", first: answering(503, down), status: 503, sent: 1},
		"no manager for a long time": {method: "GET", first: answering(503, none, "Retry-After", "5"), always: true, status: 503, sent: 7, took: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: []func() *http.Response{c.first, ok}}
				if c.always {
					s.answers = s.answers[:1]
				}
				var notes []string
				p := &patient{next: s, most: patience, note: func(text string, args ...any) { notes = append(notes, fmt.Sprintf(text, args...)) }}
				r, err := http.NewRequestWithContext(t.Context(), c.method, "http://pi-1/", strings.NewReader("body"))
				require.NoError(t, err)
				began := time.Now()
				resp, err := p.RoundTrip(r)
				require.NoError(t, err)
				require.Equal(t, c.status, resp.StatusCode)
				require.Len(t, s.bodies, c.sent)
				require.Equal(t, "body", s.bodies[len(s.bodies)-1])
				require.Equal(t, c.took, time.Since(began))
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NotEmpty(t, body, "it is left to be read")
				if c.sent > 1 {
					require.Equal(t, []string{"picloud: the cluster " + cmp.Or(c.says, "has no manager") + " at this moment; waiting up to 30s …"}, notes)
				} else {
					require.Empty(t, notes)
				}
			})
		})
	}
}
