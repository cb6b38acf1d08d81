package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/picloud/picloud/internal/cli"
	"github.com/picloud/picloud/internal/testdb"
)

// TestMain is picloud itself when it is called by that name: the scripts run
// the test binary through a link, as a process of its own.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "picloud" {
		// The machine may run a node as root, whose credentials no test may read.
		service := filepath.Join(os.Getenv("HOME"), "service")
		os.Exit(cli.Execute(cli.New(cli.Options{Version: "v0.0.0-test", Service: service})))
	}
	testdb.Main(m)
}
