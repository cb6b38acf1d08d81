package caddymodule

import (
	"fmt"
	"os"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/datadir"
)

// Options are what the commands get of their process.
type Options struct {
	// Version is the version of the binary. Default "dev".
	Version string
	// Getenv looks an environment variable up. Default: os.Getenv.
	Getenv func(string) string
}

// Commands returns the commands that need the node itself: run, stop, status,
// reload, config, doctor, database and caddy. cmd/picloud adds them to those of the CLI.
func Commands(opts Options) []*cobra.Command {
	if opts.Getenv == nil {
		opts.Getenv = os.Getenv
	}
	launched.Store(&launch{version: opts.Version, defaultData: datadir.Default(opts.Getenv)}) // for Caddy's own commands; `run` knows more
	return []*cobra.Command{runCommand(opts), stopCommand(opts), statusCommand(opts), reloadCommand(opts), configCommand(), doctorCommand(opts), databaseCommand(opts), caddyCommand()}
}

func configCommand() *cobra.Command {
	config := &cobra.Command{
		Use:   "config",
		Short: "Show the node's configuration",
	}
	config.AddCommand(&cobra.Command{
		Use:   "show",
		Short: "Print the embedded Caddyfile",
		Long:  "Print the Caddyfile that `picloud run` uses when there is none of your own.\n`picloud config show > Caddyfile` makes it yours.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := DefaultCaddyfile()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}, &cobra.Command{
		Use:   "settings",
		Short: "List the settings: Caddyfile option, flag and environment variable",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range table {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-13s --%-13s %-21s %s (default: %s)\n", s.Name, s.Flag(), s.Env(), s.Doc, s.Shown()); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return config
}

// caddyCommand holds Caddy's own commands, which would clash with ours.
func caddyCommand() *cobra.Command {
	stock := &cobra.Command{
		Use:   "caddy",
		Short: "Caddy's own commands: adapt, fmt, list-modules, reload, validate, …",
	}
	for _, c := range caddycmd.Commands() {
		if !replacesBinary(c.Name) {
			stock.AddCommand(stockCommand(c))
		}
	}
	return stock
}

// replacesBinary reports whether a command of Caddy's replaces the executable by one
// that is downloaded: a plain Caddy, which would be no PiCloud any more.
func replacesBinary(name string) bool {
	return name == "upgrade" || name == "add-package" || name == "remove-package"
}

// stockCommand mounts one of Caddy's commands, as Caddy's own root does.
func stockCommand(c caddycmd.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   c.Name + " " + c.Usage,
		Short: c.Short,
		Long:  c.Long,
	}
	if c.CobraFunc != nil {
		c.CobraFunc(cmd)
		return cmd
	}
	if c.Flags != nil {
		cmd.Flags().AddGoFlagSet(c.Flags)
	}
	cmd.RunE = caddycmd.WrapCommandFuncForCobra(c.Func)
	return cmd
}

func init() {
	caddy.CustomBinaryName = "picloud"
	caddy.CustomLongDescription = "PiCloud: upload a script, get a URL, on hardware you own."
}
