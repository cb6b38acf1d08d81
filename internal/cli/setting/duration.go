package setting

import (
	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
)

// DurationVar gives cmd a flag for a duration, with days and weeks as scripts have
// them: "7d", "1h30m".
func DurationVar(cmd *cobra.Command, to *picloud.Duration, name, usage string) {
	cmd.Flags().Var((*duration)(to), name, usage)
}

// duration is the value of a flag.
type duration picloud.Duration

// String implements pflag.Value. It is empty for zero, so that the help shows no default.
func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return picloud.Duration(*d).String()
}

// Set implements pflag.Value.
func (d *duration) Set(text string) error { return (*picloud.Duration)(d).UnmarshalText([]byte(text)) }

// Type implements pflag.Value.
func (d *duration) Type() string { return "duration" }
