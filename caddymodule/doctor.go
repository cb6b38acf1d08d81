package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/agent"
)

// doctorTimeout bounds the whole examination.
const doctorTimeout = 30 * time.Second

func doctorCommand(opts Options) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Examine what a node meets on this machine",
		Long: "Examine data folder, database, executor and sandbox as a node with the present\n" +
			"settings (environment) would meet them. It changes nothing, and works whether a\n" +
			"node runs or not.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), doctorTimeout)
			defer cancel()
			env := readEnvironment(opts.Getenv)
			env.useFoundData()
			app := App{texts: literal(env.values)}
			s, err := app.settings()
			if err != nil {
				return err
			}
			findings := agent.Doctor(ctx, s.Options)
			if f := cmd.Flag("output"); f != nil && f.Value.String() != "table" { // the CLI's own; JSON is YAML too
				return writeFindings(cmd.OutOrStdout(), findings)
			}
			return printFindings(cmd.OutOrStdout(), findings)
		},
	}
}

// writeFindings writes the findings as JSON; an error says that one failed.
func writeFindings(out io.Writer, findings []agent.Finding) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(map[string]any{"findings": findings}); err != nil {
		return err
	}
	return verdict(findings)
}

// printFindings writes a line per finding; an error says that one failed.
func printFindings(out io.Writer, findings []agent.Finding) error {
	for _, f := range findings {
		if _, err := fmt.Fprintf(out, "%-5s %-24s %s\n", f.State, f.Part, f.Detail); err != nil {
			return err
		}
		if f.Remedy != "" {
			if _, err := fmt.Fprintf(out, "      %-24s → %s\n", "", f.Remedy); err != nil {
				return err
			}
		}
	}
	return verdict(findings)
}

// verdict is an error when something will not work.
func verdict(findings []agent.Finding) error {
	failed, remedies := 0, false
	for _, f := range findings {
		remedies = remedies || f.Remedy != ""
		if f.State == "fail" {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	text := "doctor: " + plural(failed, "part") + " will not work"
	if remedies {
		text += "; the remedies are above"
	}
	return errors.New(text)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
