// Package testenv keeps tests apart from the shell that they are run in. It is for tests
// only.
package testenv

import (
	"os"
	"strings"
)

// Clear takes what PiCloud and Caddy read out of the environment of a test binary: the
// settings and credentials of a node that runs on the machine, folders, proxies. What
// tests themselves are told, PICLOUD_TEST_…, stays. Call it in TestMain, first.
func Clear() {
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if foreign(strings.ToUpper(name)) {
			_ = os.Unsetenv(name) // fails for names that no environment can have
		}
	}
}

// foreign reports whether a variable changes what a test sees.
func foreign(name string) bool {
	switch name {
	case "NO_COLOR", "GOMEMLIMIT", "NOTIFY_SOCKET", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY":
		return true
	}
	return strings.HasPrefix(name, "PICLOUD_") && !strings.HasPrefix(name, "PICLOUD_TEST_") ||
		strings.HasPrefix(name, "XDG_") || strings.HasPrefix(name, "PG")
}
