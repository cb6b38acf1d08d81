package command

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/backoff"
	"github.com/picloud/picloud/manager/api/client"
)

const (
	// patience is how long a command waits for a cluster that has no manager.
	patience = 30 * time.Second
	// firstWait is the wait between attempts when the answer advises none, and lastWait the
	// longest.
	firstWait, lastWait = time.Second, 5 * time.Second
	// maxRefusal bounds a problem, in bytes.
	maxRefusal = 64 << 10
)

// patient is a transport that waits while the cluster has no manager: it elects one, or the
// node that was asked cannot reach it. It repeats what is safe to repeat: GET, PUT and
// DELETE, and whatever was refused before it reached a manager.
type patient struct {
	next http.RoundTripper
	most time.Duration
	note func(text string, args ...any)
}

// RoundTrip implements http.RoundTripper.
func (p *patient) RoundTrip(r *http.Request) (*http.Response, error) {
	began, told := time.Now(), false
	for {
		resp, err := p.next.RoundTrip(r)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
			return resp, err
		}
		why := refusal(resp)
		wait := waitOf(resp)
		if why == "" || !repeatable(r, resp) || time.Since(began)+wait > p.most {
			return resp, nil
		}
		again, err := rewound(r)
		if err != nil {
			return resp, nil //nolint:nilerr // the answer that is there says more
		}
		if !told {
			p.note("picloud: %s; waiting up to %s …", why, p.most)
			told = true
		}
		resp.Body.Close()
		if !backoff.Pause(r.Context(), wait) {
			return nil, r.Context().Err()
		}
		r = again
	}
}

// refusal says why the cluster cannot answer at this moment; empty: the answer is another
// one. It leaves the body to be read.
func refusal(resp *http.Response) string {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	rest := resp.Body
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), rest), rest}
	var problem client.Problem
	if err != nil || json.Unmarshal(body, &problem) != nil {
		return ""
	}
	switch problem.Code {
	case picloud.CodeNoManager:
		return cmp.Or(problem.Detail, "the cluster has no manager at this moment")
	case picloud.CodeDeposed:
		return "the cluster gets another manager at this moment"
	case picloud.CodeUnreached:
		return "a node of the cluster does not answer at this moment"
	}
	return ""
}

// repeatable reports whether a request may be sent again.
func repeatable(r *http.Request, resp *http.Response) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete:
		return true
	}
	return resp.Header.Get(picloud.NotSentHeader) != ""
}

// waitOf is what the answer advises.
func waitOf(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds <= 0 {
		return firstWait
	}
	return min(time.Duration(seconds)*time.Second, lastWait)
}

// rewound is a request with its body from the beginning.
func rewound(r *http.Request) (*http.Request, error) {
	again := r.Clone(r.Context())
	if r.Body == nil || r.Body == http.NoBody {
		return again, nil
	}
	if r.GetBody == nil {
		return nil, http.ErrBodyReadAfterClose
	}
	body, err := r.GetBody()
	again.Body = body
	return again, err
}
