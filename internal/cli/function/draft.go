package function

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) testCommand() *cobra.Command {
	var request requestFlags
	var name string
	var include, net bool
	cmd := &cobra.Command{
		Use:   "test FILE",
		Short: "Run a script once without deploying it",
		Long: "Run a script once on the node, in an executor that is thrown away, and keep nothing:\n" +
			"the script reads the app's keys and its own writes, which are thrown away with it,\n" +
			"and its requests to other servers are made only with --net.\n" +
			"Prints the answer on standard output. What the script logged, and what it would have\n" +
			"written and sent, goes to standard error.",
		Example: "  picloud test hello.risor --query name=Ada\n" +
			"  picloud test iban.risor -d 'DE89 3704 0044 0532 0130 00'",
		Args: command.Args(1, 1),
		RunE: func(cmd *cobra.Command, files []string) error {
			out, err := request.build(c, cmd)
			if err != nil {
				return err
			}
			found, err := c.scripts(cmd, files, name)
			if err != nil {
				return err
			}
			s, err := found.only(cmd, files[0])
			if err != nil {
				return err
			}
			result, err := command.Call(c.Base, cmd, "test", c.App+"/"+s.name, func(ctx context.Context, node *command.Node) (client.DraftResult, error) {
				defer c.Progress("running %s", s.name)()
				return client.Read[client.DraftResult](node.TestDraft(ctx, c.App, s.name, client.Draft{Source: string(s.source), Request: out.draft(), Net: net}))
			})
			if err != nil {
				return failure.InFile(err, s.file)
			}
			return c.printDraft(s, result, include)
		},
	}
	request.add(cmd)
	cmd.Flags().StringVar(&name, "name", "", "name of the function (default: that of the file)")
	cmd.Flags().BoolVar(&net, "net", false, "make the script's requests to other servers (default: they fail with http_not_sent)")
	cmd.Flags().BoolVarP(&include, "include", "i", false, "print status and headers as well")
	return cmd
}

// draft is the request as the control API takes it.
func (o outgoing) draft() client.DraftRequest {
	d := client.DraftRequest{Method: o.method, Path: o.path, Query: o.query, Headers: map[string]string{}}
	for name, values := range o.header {
		d.Headers[name] = strings.Join(values, ", ")
	}
	if utf8.Valid(o.body) {
		d.Body, d.Encoding = string(o.body), client.EncodingText
	} else {
		d.Body, d.Encoding = base64.StdEncoding.EncodeToString(o.body), client.EncodingBase64
	}
	return d
}

func (c commands) printDraft(s script, result client.DraftResult, include bool) error {
	err := c.Print(result, func() {
		for _, record := range result.Logs {
			if result.Error != nil && record.Level == "error" && record.Message == result.Error.Message {
				continue // the error itself says it, with its place
			}
			c.Notef("%s", logLine(record))
		}
		c.noteEffects(result.Effects)
	})
	switch {
	case err != nil:
		return err
	case result.Error != nil:
		return failure.InFile(failure.Explain(result.Error.Err(), "test", c.App+"/"+s.name), s.file)
	case result.Response == nil:
		return fmt.Errorf("test %s: the node answered neither a response nor an error", s.name)
	case !c.ForPeople():
		return c.judge(result.Response.Status)
	}
	body := []byte(result.Response.Body)
	if result.Response.Encoding == client.EncodingBase64 {
		if body, err = base64.StdEncoding.DecodeString(result.Response.Body); err != nil {
			return fmt.Errorf("test %s: decode the body: %w", s.name, err)
		}
	}
	err = c.printAnswer(answer{result.Response.Status, result.Response.Headers, body}, include)
	if output.Terminal(c.Stderr) {
		c.Notef("(ran in %s)", output.Took(time.Duration(result.Duration)))
	}
	return err
}

// noteEffects says what a run would have written and sent.
func (c commands) noteEffects(e picloud.Effects) {
	for _, w := range e.Writes {
		if w.Op == picloud.WriteDelete {
			c.Notef("would write: kv.delete %q", w.Key)
		} else {
			c.Notef("would write: kv.set %q (%s)", w.Key, picloud.Size(w.Size))
		}
	}
	for _, r := range e.Requests {
		if r.Sent {
			c.Notef("sent: %s %s", output.Clean(r.Method), output.Clean(r.URL))
		} else {
			c.Notef("would send: %s %s (made only with --net)", output.Clean(r.Method), output.Clean(r.URL))
		}
	}
	if e.MoreRequests > 0 {
		c.Notef("and %d more requests", e.MoreRequests)
	}
}
