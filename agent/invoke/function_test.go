package invoke

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/trigger"
	"github.com/picloud/picloud/internal/redact"
)

// TestRecordsHaveThePathAsItWasSent, so that nothing in it looks like another part of a
// line, or like another line; and no secret, however it was encoded.
func TestRecordsHaveThePathAsItWasSent(t *testing.T) {
	secrets := &redact.Secrets{}
	secrets.Learn("a", "TOKEN", "s3cret value")
	i := New(Options{Secrets: secrets})
	key := picloud.RouteKey{App: "a", Function: "f"}
	f := &Function{Route: picloud.Route{App: "a", Function: "f"}, invoker: i, series: i.metrics.of(key, trigger.HTTP), ring: i.rings.of(key)}
	for path, want := range map[string]string{
		"/":                            "/",
		"/x%20200%201.0ms":             "/x%20200%201.0ms",
		"/%E2%80%A8GET%20/":            "/%E2%80%A8GET%20/",
		"/a%2Fb":                       "/a%2Fb",
		"/s3cret%20value/x":            "/[secret TOKEN]/x",
		"/%73%33%63ret%20value/a%2520": "/%5Bsecret%20TOKEN%5D/a%2520",
		"/%zz":                         "/%zz",
	} {
		call := f.Begin()
		call.End(trigger.HTTP, "GET", path, 200, nil)
		require.Equal(t, want, f.ring.newest(1, nil)[0].Path)
	}
}
