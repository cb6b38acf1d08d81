package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
)

// build is what `picloud version` prints for programs.
type build struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// versionText is what `picloud version` and --version print for people.
func versionText(version string) string {
	return fmt.Sprintf("picloud %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func versionCommand(c *command.Base, version string) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  command.Args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			b := build{version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			return c.Print(b, func() { c.Printf("%s", versionText(version)) })
		},
	}
}
