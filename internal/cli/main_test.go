package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/picloud/picloud/internal/cli"
	"github.com/picloud/picloud/internal/cli/target"
	"github.com/picloud/picloud/internal/testdb"
)

// TestMain is picloud itself when it is called by that name: the scripts run
// the test binary through a link, as a process of its own.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "picloud" {
		target.ServiceCredentials = filepath.Join(os.Getenv("HOME"), "service", "credentials")
		os.Exit(cli.Execute(cli.New(cli.Options{Version: "v0.0.0-test"})))
	}
	testdb.Main(m)
}
