package cli

import (
	"runtime"

	"github.com/spf13/cobra"
)

// build is what `picloud version` prints for programs.
type build struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			b := build{c.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			return c.print(b, func() { c.printf("picloud %s (%s, %s)\n", b.Version, b.Go, b.Platform) })
		},
	}
}
