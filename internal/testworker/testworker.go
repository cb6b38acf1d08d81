// Package testworker gives tests the real executor binary. It is for tests only.
package testworker

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Path returns the path of picloud-executor, built from this checkout once per
// test binary. Other uids can execute it.
func Path(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// build replaces one file per user, so that test runs leave no heap of
// binaries behind; those who execute the old one keep it.
var build = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("picloud-testworker-%d", os.Geteuid()))
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // workers run as other users
		return "", fmt.Errorf("build executor: %w", err)
	}
	fresh := filepath.Join(dir, fmt.Sprintf("picloud-executor-%d", os.Getpid()))
	cmd := exec.Command("go", "build", "-o", fresh, "github.com/picloud/picloud/cmd/picloud-executor")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build executor: %w: %s", err, out)
	}
	path := filepath.Join(dir, "picloud-executor")
	return path, os.Rename(fresh, path)
})
