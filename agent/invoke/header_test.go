package invoke

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor"
)

// The functions of all apps are one origin: none may register a service worker for the
// others, log their users out, or keep browsers away from the host's plain HTTP.
func TestFunctionsSetNoHeaderOfTheWholeOrigin(t *testing.T) {
	h := http.Header{}
	for _, name := range []string{
		"Service-Worker-Allowed", "service-worker-allowed", "Clear-Site-Data", "Strict-Transport-Security",
		"Alt-Svc", "NEL", "Report-To", "Expect-CT", "Public-Key-Pins", "Public-Key-Pins-Report-Only",
	} {
		CopyHeader(h, []executor.HeaderField{{Name: name, Value: "/"}}, false)
	}
	require.Empty(t, h)
	CopyHeader(h, []executor.HeaderField{{Name: "content-security-policy", Value: "default-src 'self'"}, {Name: "vary", Value: "accept"}}, false)
	require.Equal(t, http.Header{"Content-Security-Policy": {"default-src 'self'"}, "Vary": {"accept"}}, h)
}
