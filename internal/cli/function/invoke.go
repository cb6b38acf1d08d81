package function

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/setting"
	"github.com/picloud/picloud/internal/cli/target"
	"github.com/picloud/picloud/manager/api/client"
)

// versionHeader names a version: in a request the one that is wanted, in an answer the
// one that ran.
const versionHeader = "X-PiCloud-Version"

func (c commands) invokeCommand() *cobra.Command {
	var request requestFlags
	var version string
	var include bool
	timeout := picloud.Duration(time.Minute)
	cmd := &cobra.Command{
		Use:   "invoke FUNCTION",
		Short: "Call a function and print its answer",
		Long: "Call a function over HTTP, as anybody would, and print the body of its answer.\n" +
			"What the call logged goes to standard error, if you are signed in and may read the app's logs.\n" +
			"Exit code 1 when its status is 400 or above, 3 when there is no such function.",
		Example: "  picloud invoke hello --query name=Ada\n" +
			"  picloud invoke iban -d 'DE89 3704 0044 0532 0130 00'\n" +
			"  picloud invoke csv -d @rows.json -H 'Accept: text/csv'",
		Args:              command.Args(1, 1),
		ValidArgsFunction: c.CompleteFunctions,
		RunE: func(cmd *cobra.Command, names []string) error {
			out, err := request.build(c, cmd)
			if err != nil {
				return err
			}
			if version != "" {
				n, err := parseVersion(cmd, version)
				if err != nil {
					return err
				}
				out.header.Set(versionHeader, "v"+strconv.Itoa(n))
			}
			if err := picloud.CheckName("function", names[0]); err != nil {
				return failure.Usagef(cmd, "%q is not a function's name", picloud.Shorten(names[0], 80))
			}
			base, err := c.Target.FunctionsBase()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(timeout))
			defer cancel()
			return c.invoke(ctx, base, names[0], out, include)
		},
	}
	request.add(cmd)
	cmd.Flags().StringVar(&version, "version", "", "fail unless this version answers, such as v3")
	_ = cmd.RegisterFlagCompletionFunc("version", c.CompleteVersions)
	cmd.Flags().BoolVarP(&include, "include", "i", false, "print status and headers as well")
	setting.DurationVar(cmd, &timeout, "timeout", "how long to wait for the answer")
	return cmd
}

func (c commands) invoke(ctx context.Context, base *url.URL, function string, out outgoing, include bool) error {
	resource := c.App + "/" + function
	call := base.String() + "/fn/" + url.PathEscape(c.App) + "/" + function + out.path
	if out.query != "" {
		call += "?" + out.query
	}
	req, err := http.NewRequestWithContext(ctx, out.method, call, bytes.NewReader(out.body))
	if err != nil {
		return fmt.Errorf("call %s: %w", resource, err)
	}
	req.Header = out.header
	if host := out.header.Get("Host"); host != "" {
		req.Host = host
	}
	done := c.Progress("calling %s", function)
	resp, err := (&http.Client{
		Transport:     c.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(req)
	done()
	if err != nil {
		return unanswered(ctx, err, resource, base)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return unanswered(ctx, err, resource, base)
	}
	if len(body) > maxBody {
		return fmt.Errorf("call %s: the answer is larger than 64 MiB", resource)
	}
	shown := c.showLog(ctx, resp)
	if err := refused(resp, body, resource, shown); err != nil {
		return err
	}
	if err := rightVersion(out, resp, resource); err != nil {
		return err
	}
	return c.printAnswer(answer{resp.StatusCode, resp.Header, body}, include)
}

// showLog shows people what the call logged, if they may read it. It reports whether
// there was anything. That it cannot be read is no fault of the call.
func (c commands) showLog(ctx context.Context, resp *http.Response) (shown bool) {
	id := resp.Header.Get("X-Call-Id")
	if id == "" || resp.Header.Get(versionHeader) == "" || !c.ForPeople() { // without a version, no code was called
		return false
	}
	node, err := c.Connect()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	var record client.Invocation
	if resp.StatusCode >= 400 {
		if record, err = awaitRecord(ctx, node, id); err != nil {
			return false
		}
	}
	tail := maxTail
	logs, err := client.Read[client.LogList](node.GetAppLogs(ctx, c.App, &client.GetAppLogsParams{Call: &id, Tail: &tail}))
	if err != nil {
		return false
	}
	said := false
	if len(logs.Items) == maxTail {
		c.Notef("picloud: the newest %d lines that the call logged; it may have logged more before them", maxTail)
	}
	for _, line := range logs.Items {
		c.Notef("%s", logLine(line))
		said = said || line.Level == "error"
	}
	if record.Error != "" && !said { // what ended it was not the function's to log
		c.Notef("%s", oneLine(stamp(record.Ended(), "error")+string(record.Code)+" "+record.Error))
	}
	return len(logs.Items) > 0 || record.Error != ""
}

const (
	// maxTail is how many lines of a log the control API gives at once.
	maxTail = 1000
	// logPatience bounds the wait for what a call logged.
	logPatience = 5 * time.Second
	// recordPause is between two looks for the record of a call, which comes right after
	// the answer: recordTries of them.
	recordPause = 20 * time.Millisecond
	recordTries = 10
)

// awaitRecord reads the record of a call. When it is there, all of its log is.
func awaitRecord(ctx context.Context, node *command.Node, id string) (record client.Invocation, err error) {
	for range recordTries {
		record, err = client.Read[client.Invocation](node.GetInvocation(ctx, id))
		if picloud.CodeOf(err) != picloud.CodeNotFound {
			return record, err
		}
		select {
		case <-ctx.Done():
			return record, ctx.Err()
		case <-time.After(recordPause):
		}
	}
	return record, err
}

// rightVersion returns an error when another version answered than --version names. A
// node serves the live version only, and ignores the header.
func rightVersion(out outgoing, resp *http.Response, resource string) error {
	want, got := out.header.Get(versionHeader), resp.Header.Get(versionHeader)
	if want == "" || want == got {
		return nil
	}
	return &picloud.Error{
		Code: picloud.CodeConflict, Op: "call", Resource: resource,
		Detail: fmt.Sprintf("%s answered, not %s: only the live version can be called", target.FirstOf(got, "another version"), want),
		Hint:   "to try another one: picloud function code NAME --version " + want + " | picloud test - --name NAME",
	}
}

// unanswered explains why a call got no answer.
func unanswered(ctx context.Context, err error, resource string, base *url.URL) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	e := &picloud.Error{Code: picloud.CodeInternal, Op: "call", Resource: resource, Err: err}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		e.Err = failed.Err
	}
	if ctx.Err() != nil {
		e.Err, e.Hint = nil, "a function that needs longer can be given more with --timeout"
		e.Detail = "no answer in time"
		return e
	}
	e.Hint = "is the node running, and are functions served at " + base.String() + "? start a node with: " + failure.StartNode() + "; name another address with --functions-url"
	return e
}

// refused returns the problem that PiCloud itself answered in the function's
// place, if it did: no such function, a timeout, an error in the script.
func refused(resp *http.Response, body []byte, resource string, shown bool) error {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode < 400 || media != "application/problem+json" || resp.Header.Get("X-Picloud-Error") == "" {
		return nil
	}
	var p client.Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return nil
	}
	f := failure.Explain(p.Err(), "call", resource)
	if f.Err.Hint == "" && !shown && resp.Header.Get("X-Picloud-Error") == "function" {
		app, name, _ := strings.Cut(resource, "/")
		f.Err.Hint = "its log says where: picloud logs " + name + " --app " + app
	}
	f.RequestID = target.FirstOf(p.RequestID, resp.Header.Get("X-Call-Id"))
	return f
}
