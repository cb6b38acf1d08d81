package function

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	App        string           `json:"app"`
	Function   string           `json:"function"`
	Version    int              `json:"version"`
	Existing   bool             `json:"existing"`           // the code is that of a version that existed before
	Unchanged  bool             `json:"unchanged"`          // the version was live already: nothing has changed
	Previous   int              `json:"previous,omitempty"` // the version that was live before; 0: none, or nothing has changed
	AppCreated bool             `json:"app_created,omitempty"`
	RollbackTo int              `json:"rollback_to,omitempty"` // the version that the next rollback would bring
	URL        string           `json:"url"`
	Duration   picloud.Duration `json:"duration"` // on the server, from the request to the last acknowledgement

	Milliseconds float64       `json:"duration_ms"` // the same as a number
	Acks         *picloud.Acks `json:"acks,omitempty"`
}

// inMilliseconds is a duration as a number for programs.
func inMilliseconds(d picloud.Duration) float64 {
	return float64(time.Duration(d)) / float64(time.Millisecond)
}

func (c commands) deployCommand() *cobra.Command {
	var name string
	wait := waitAll
	cmd := &cobra.Command{
		Use:   "deploy FILE…",
		Short: "Make scripts live as functions",
		Long: "Make scripts live as functions. A file's name is the function's name; a folder stands for the\n" +
			"scripts in it, but not for those in folders below. All scripts are compiled first: when one does not\n" +
			"compile, none becomes live. A function that does not exist is created; for cluster admins the app is, too.\n" +
			"Code that an earlier version has makes no new version: that version is live again.",
		Example: "  picloud deploy hello.risor\n" +
			"  picloud deploy functions/ --app shop\n" +
			"  generate | picloud deploy - --name report",
		Args: command.Args(1, -1),
		RunE: func(cmd *cobra.Command, files []string) error {
			found, err := c.scripts(cmd, files, name)
			if err != nil {
				return err
			}
			return c.deploy(cmd.Context(), found, client.Wait(wait))
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the function (default: that of the file)")
	addWait(cmd, &wait)
	return cmd
}

// deploy compiles all scripts, and then deploys one after the other. A deploy that fails
// does not stop the rest. The first failure decides the exit code.
func (c commands) deploy(ctx context.Context, found scripts, wait client.Wait) error {
	node, err := c.Connect()
	if err != nil {
		return err
	}
	results := []deployment{}
	failures := slices.Clone(found.misnamed)
	if faults := c.compileAll(ctx, node, found); len(faults) > 0 {
		return c.nothingDeployed(found, append(failures, faults...), results)
	}
	for _, s := range found.all {
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
			c.printDeployment(result)
		}
	}
	if !c.ForPeople() {
		if err := c.Print(results, nil); err != nil {
			return err
		}
	}
	if n := len(found.all) + len(found.misnamed); len(failures) > 0 && n > 1 {
		defer c.Notef("picloud: %d of %s live", len(results), output.Plural(n, "function"))
	}
	return c.Failed(failures, nil)
}

// compileAll compiles scripts that are to become live together and returns their faults.
// It leaves out a single script, which its deploy compiles.
func (c commands) compileAll(ctx context.Context, node *command.Node, found scripts) (faults []error) {
	faults = slices.Clone(found.unreadable)
	if len(found.all)+len(faults) < 2 {
		return faults
	}
	for _, s := range found.all {
		_, err := c.compile(ctx, node, "deploy", s)
		if err != nil {
			faults = append(faults, err)
		}
		if err != nil && !errors.Is(err, picloud.ErrScript) {
			break // the next one would meet the same trouble
		}
	}
	return faults
}

// nothingDeployed prints the faults because of which no script is deployed.
func (c commands) nothingDeployed(found scripts, failures []error, none []deployment) error {
	if !c.ForPeople() {
		if err := c.Print(none, nil); err != nil {
			return err
		}
	}
	for _, err := range failures {
		failure.PrintAs(c.Format, c.Stderr, nil, err)
	}
	c.Notef("picloud: nothing was deployed: faults in %d of %s", len(failures), output.Plural(len(found.all)+len(found.misnamed)+len(found.unreadable), "script"))
	return failure.Reported{Code: failure.ExitCode(failures[0])}
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
	out := deployment{
		App: d.Version.App, Function: d.Version.Function, Version: d.Version.Number, Existing: d.Existing, Unchanged: d.Unchanged,
		AppCreated: d.AppCreated, URL: node.FunctionURL(d.Path), Duration: d.Timings.Total, Milliseconds: inMilliseconds(d.Timings.Total), Acks: d.Acks,
	}
	if d.Deployment != nil && !d.Unchanged {
		out.Previous = d.Deployment.Previous
	}
	return out, nil
}

// printDeployment writes "hello v1 live on 1/1 nodes in 38 ms → URL". Before a version
// that was live earlier it says which one it replaces.
func (c commands) printDeployment(d deployment) {
	if d.AppCreated && d.App != picloud.DefaultApp { // which nobody has mistyped
		c.Printf("app %s created\n", d.App)
	}
	switch {
	case d.Unchanged:
		c.Printf("%s v%d unchanged, %s\n", d.Function, d.Version, d.reach())
	case d.Existing && d.Previous > 0:
		reach := strings.TrimPrefix(", "+d.reach(), ", live")
		c.Printf("%s v%d live again (was v%d)%s in %s%s → %s\n", d.Function, d.Version, d.Previous, reach, output.Took(time.Duration(d.Duration)), d.times(), d.URL)
	default:
		c.Printf("%s v%d %s in %s%s → %s\n", d.Function, d.Version, d.reach(), output.Took(time.Duration(d.Duration)), d.times(), d.URL)
	}
	c.warnOfMissing(d)
}

// reach says which nodes serve the version.
func (d deployment) reach() string {
	switch {
	case d.Acks == nil:
		return "kept"
	case len(d.Acks.Nodes) == 0 && len(d.Acks.Missing) == 0:
		return "on its way to the nodes"
	default:
		return fmt.Sprintf("live on %d/%d nodes", len(d.Acks.Nodes), len(d.Acks.Nodes)+len(d.Acks.Missing))
	}
}

// maxTimes is how many nodes' times a line shows: the slowest.
const maxTimes = 8

// times writes when each of several nodes served the version, the slowest last.
func (d deployment) times() string {
	if d.Acks == nil || len(d.Acks.Times) < 2 {
		return ""
	}
	names := slices.SortedFunc(maps.Keys(d.Acks.Times), func(a, b string) int {
		return cmp.Or(cmp.Compare(d.Acks.Times[a], d.Acks.Times[b]), cmp.Compare(a, b))
	})
	var each []string
	if more := len(names) - maxTimes; more > 0 {
		each, names = append(each, fmt.Sprintf("%d faster", more)), names[more:]
	}
	for _, name := range names {
		each = append(each, name+" "+output.Took(time.Duration(d.Acks.Times[name])))
	}
	return " (" + strings.Join(each, ", ") + ")"
}

func (c commands) warnOfMissing(d deployment) {
	if d.Acks != nil && !d.Acks.Complete && len(d.Acks.Missing) > 0 {
		c.Warnf("not heard from %s: the version reaches them when they are back", strings.Join(d.Acks.Missing, ", "))
	}
}
