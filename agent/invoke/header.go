package invoke

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/picloud/picloud/executor"
)

// SessionCookie is the dashboard's cookie. A function never sees it and cannot
// set it, so that a function can never act as the dashboard.
const SessionCookie = "picloud_session"

// CopyHeader copies the header that a function answered, except for what belongs to
// the connection, to the platform, to the dashboard or to the whole origin. Where the function's
// settings decide about CORS, its code does not. It returns the length that the
// function states, for answers to HEAD; "" if it states none.
func CopyHeader(h http.Header, pairs []executor.HeaderField, corsDecides bool) (length string) {
	for _, p := range pairs {
		name := http.CanonicalHeaderKey(p.Name)
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer",
			"Transfer-Encoding", "Upgrade", "X-Call-Id", "X-Picloud-Version",
			"X-Picloud-Node", "X-Picloud-Error", "X-Picloud-Leader", "X-Picloud-Stale":
			continue
		case "Alt-Svc", "Clear-Site-Data", "Expect-Ct", "Nel", "Public-Key-Pins", "Public-Key-Pins-Report-Only",
			"Report-To", "Service-Worker-Allowed", "Strict-Transport-Security":
			// Browsers apply these to the whole origin, which the functions of all apps share.
			continue
		case "Content-Length":
			if n, err := strconv.ParseUint(p.Value, 10, 63); err == nil {
				length = strconv.FormatUint(n, 10)
			}
		case "Set-Cookie":
			if cookie, _, _ := strings.Cut(p.Value, "="); strings.TrimSpace(cookie) == SessionCookie {
				continue
			}
			h[name] = append(h[name], p.Value)
		case "Server":
			h[name] = []string{p.Value}
		case "Date": // of an answer that the function passes on; without it the server says the time
			if _, err := http.ParseTime(p.Value); err == nil {
				h[name] = []string{p.Value}
			}
		default:
			if corsDecides && strings.HasPrefix(name, "Access-Control-") {
				continue
			}
			h[name] = append(h[name], p.Value)
		}
	}
	return length
}
