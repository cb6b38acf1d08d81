package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/agent"
)

// doctorTimeout bounds the whole examination.
const doctorTimeout = 30 * time.Second

func doctorCommand() *cobra.Command {
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
			if err := useFoundDataDir(); err != nil {
				return err
			}
			app := &App{}
			for _, s := range Settings {
				s.set(app, os.Getenv(s.Env))
			}
			opts, err := app.options()
			if err != nil {
				return err
			}
			return printFindings(cmd.OutOrStdout(), agent.Doctor(ctx, opts))
		},
	}
}

// printFindings writes a line per finding; an error says that one failed.
func printFindings(out io.Writer, findings []agent.Finding) error {
	failed, remedies := 0, false
	for _, f := range findings {
		if _, err := fmt.Fprintf(out, "%-5s %-22s %s\n", f.State, f.Part, f.Detail); err != nil {
			return err
		}
		if f.Remedy != "" {
			remedies = true
			if _, err := fmt.Fprintf(out, "      %-22s → %s\n", "", f.Remedy); err != nil {
				return err
			}
		}
		if f.State == "fail" {
			failed++
		}
	}
	if failed > 0 {
		text := "doctor: " + plural(failed, "part") + " will not work"
		if remedies {
			text += "; the remedies are above"
		}
		return errors.New(text)
	}
	return nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
