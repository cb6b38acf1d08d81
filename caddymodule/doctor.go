package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/datadir"
)

// doctorTimeout bounds the whole examination.
const doctorTimeout = 30 * time.Second

func doctorCommand(opts Options) *cobra.Command {
	var which whichNode
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine what a node meets on this machine",
		Long: "Examine data folder, database, executor and sandbox as a node that `picloud run`\n" +
			"starts here would meet them, with the same Caddyfile and environment. It changes\n" +
			"nothing, and works whether a node runs or not.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), doctorTimeout)
			defer cancel()
			env := readEnvironment(opts.Getenv)
			env.own(opts.Getenv)
			findings := which.examine(ctx, env)
			if forPrograms(cmd) {
				return writeFindings(cmd.OutOrStdout(), findings)
			}
			return printFindings(cmd.OutOrStdout(), findings)
		},
	}
	which.addTo(cmd)
	return cmd
}

// examine is the examination of a node with the settings of flags, Caddyfile and
// environment.
func (w whichNode) examine(ctx context.Context, env environment) []agent.Finding {
	if w.data != "" {
		env.values["data"] = w.data
	}
	conf, err := env.configure(w.config)
	first := agent.Finding{Part: "configuration", State: "ok", Detail: "the embedded one"}
	if err == nil && conf.path != "" {
		first.Detail = datadir.Shorten(conf.path)
	}
	if err != nil {
		first.State, first.Detail = "fail", err.Error()
		if e, ok := errors.AsType[*picloud.Error](err); ok {
			first.Remedy = e.Hint
		}
		return []agent.Finding{first}
	}
	for _, s := range conf.overruled {
		first.State = "warn"
		first.Detail += fmt.Sprintf("; it sets %s, so %s and --%s are not used", s.Name, s.Env(), s.Flag())
		first.Remedy = "set each of them in one place only"
	}
	app := App{texts: conf.home.texts}
	s, err := app.settings()
	if err != nil {
		return append([]agent.Finding{first}, agent.Finding{Part: "settings", State: "fail", Detail: err.Error()})
	}
	return append([]agent.Finding{first}, agent.Doctor(ctx, s.Options)...)
}

// writeFindings writes the findings as JSON; an error says that one failed.
func writeFindings(out io.Writer, findings []agent.Finding) error {
	if err := writeJSON(out, map[string]any{"findings": findings}); err != nil {
		return err
	}
	return verdict(findings)
}

// printFindings writes a line per finding, and a remedy once, after the last of the
// findings that it mends. An error says that one failed.
func printFindings(out io.Writer, findings []agent.Finding) error {
	before := ""
	for i, f := range findings {
		detail := f.Detail
		if f.Remedy != "" && detail == before {
			detail = "the same"
		}
		before = f.Detail
		if _, err := fmt.Fprintf(out, "%-5s %-24s %s\n", f.State, f.Part, detail); err != nil {
			return err
		}
		if f.Remedy == "" || remedyComesAgain(findings[i+1:], f.Remedy) {
			continue
		}
		if _, err := fmt.Fprintf(out, "      %-24s → %s\n", "", f.Remedy); err != nil {
			return err
		}
	}
	return verdict(findings)
}

// remedyComesAgain reports whether a later finding has the same remedy.
func remedyComesAgain(later []agent.Finding, remedy string) bool {
	return slices.ContainsFunc(later, func(f agent.Finding) bool { return f.Remedy == remedy })
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
	text := "doctor: " + picloud.Count(failed, "part") + " will not work"
	if remedies {
		text += "; the remedies are above"
	}
	return errors.New(text)
}
