// Command picloud is the one binary of PiCloud: Caddy, the node's agent and
// the command line client.
package main

import (
	"os"
	_ "time/tzdata" // schedules name time zones; small boards ship none

	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/spf13/cobra"

	"github.com/picloud/picloud/caddymodule"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/worker"
	"github.com/picloud/picloud/internal/cli"
)

// version is stamped by the linker: -X main.version=….
var version = "dev"

func main() {
	if len(os.Args) > 1 && os.Args[1] == executor.WorkerCommand {
		os.Exit(worker.Main())
	}
	os.Exit(cli.Execute(commands(os.Getenv)))
}

// commands are those of the client and those of the node.
func commands(getenv func(string) string) *cobra.Command {
	root := cli.New(cli.Options{Version: version, Getenv: getenv})
	options := caddymodule.Options{Version: version, Getenv: getenv}
	root.AddCommand(caddymodule.Commands(options)...)
	if node, _, err := root.Find([]string{"node"}); err == nil {
		node.AddCommand(caddymodule.NodeCommands(options)...)
	}
	return root
}
