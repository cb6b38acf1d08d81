package function

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/manager/api/client"
)

// deployment is what `picloud deploy` and `rollback` print for programs.
type deployment struct {
	App       string           `json:"app"`
	Function  string           `json:"function"`
	Version   int              `json:"version"`
	Unchanged bool             `json:"unchanged"` // the code is that of an existing version
	URL       string           `json:"url"`
	Duration  picloud.Duration `json:"duration"` // on the server, from the request to the last acknowledgement
	Acks      *picloud.Acks    `json:"acks,omitempty"`
}

func (c commands) deployCommand() *cobra.Command {
	var name string
	wait := waitAll
	cmd := &cobra.Command{
		Use:   "deploy FILE…",
		Short: "Make scripts live as functions",
		Long: "Make scripts live as functions. A file's name is the function's name; a folder stands for the\n" +
			"scripts in it. A script that does not compile changes nothing: what was live stays live.\n" +
			"A function that does not exist is created; for cluster admins the app is, too.",
		Example: "  picloud deploy hello.risor\n" +
			"  picloud deploy functions/ --app shop\n" +
			"  generate | picloud deploy - --name report",
		Args: command.Args(1, -1),
		RunE: func(cmd *cobra.Command, files []string) error {
			scripts, err := c.scripts(cmd, files, name)
			if err != nil {
				return err
			}
			return c.deploy(cmd.Context(), scripts, client.Wait(wait))
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the function (default: that of the file)")
	addWait(cmd, &wait)
	return cmd
}

// deploy deploys one script after the other. One that fails does not keep back
// the rest; the first failure is the command's.
func (c commands) deploy(ctx context.Context, scripts []script, wait client.Wait) error {
	node, err := c.Connect()
	if err != nil {
		return err
	}
	results := []deployment{}
	var failures []error
	for _, s := range scripts {
		result, err := c.deployOne(ctx, node, s, wait)
		if err != nil {
			failures = append(failures, err)
			if ctx.Err() != nil || !errors.Is(err, picloud.ErrScript) && !errors.Is(err, picloud.ErrConflict) {
				break // the next one would meet the same trouble
			}
			continue
		}
		results = append(results, result)
		if c.ForPeople() {
			c.printDeployment(result, result.Unchanged)
		}
	}
	if !c.ForPeople() {
		if err := c.Print(results, nil); err != nil {
			return err
		}
	}
	if len(failures) == 0 {
		return nil
	}
	for _, err := range failures[1:] {
		failure.Print(c.Stderr, nil, err)
	}
	if len(scripts) > 1 {
		c.Notef("picloud: %d of %s live", len(results), output.Plural(len(scripts), "function"))
	}
	return failures[0]
}

func (c commands) deployOne(ctx context.Context, node *command.Node, s script, wait client.Wait) (deployment, error) {
	defer c.Progress("deploying %s", s.name)()
	create := true
	params := &client.PutCodeParams{Create: &create, Wait: &wait}
	d, err := command.Ask(ctx, node, "deploy", c.App+"/"+s.name, func(ctx context.Context, node *command.Node) (client.Deployed, error) {
		return client.Read[client.Deployed](node.PutCodeWithBody(ctx, c.App, s.name, params, "text/plain; charset=utf-8", bytes.NewReader(s.source)))
	})
	if err != nil {
		return deployment{}, failure.InFile(err, s.file)
	}
	return deployment{
		App: d.Version.App, Function: d.Version.Function, Version: d.Version.Number, Unchanged: d.Existing,
		URL: node.FunctionURL(d.Path), Duration: d.Timings.Total, Acks: d.Acks,
	}, nil
}

// printDeployment writes "hello v1 live on 1/1 nodes in 38 ms → URL".
func (c commands) printDeployment(d deployment, unchanged bool) {
	c.Printf("%s v%d", d.Function, d.Version)
	if unchanged {
		c.Printf(" unchanged,")
	}
	switch {
	case d.Acks == nil:
		c.Printf(" kept")
	case len(d.Acks.Nodes) == 0 && len(d.Acks.Missing) == 0:
		c.Printf(" on its way to the nodes")
	default:
		c.Printf(" live on %d/%d nodes", len(d.Acks.Nodes), len(d.Acks.Nodes)+len(d.Acks.Missing))
	}
	if !unchanged {
		c.Printf(" in %s → %s", output.Took(time.Duration(d.Duration)), d.URL)
	}
	c.Printf("\n")
	if d.Acks != nil && !d.Acks.Complete && len(d.Acks.Missing) > 0 {
		c.Warnf("not heard from %s: the version reaches them when they are back", strings.Join(d.Acks.Missing, ", "))
	}
}
