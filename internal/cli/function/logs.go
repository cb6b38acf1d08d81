package function

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

const (
	// silence is how long a followed log may send nothing, not even a
	// heartbeat, before it counts as lost.
	silence = time.Minute
	// Waits between attempts to follow again.
	firstRetry, lastRetry = 500 * time.Millisecond, 10 * time.Second
	// overlap is how far back following again looks.
	overlap = 2 * time.Second
)

func (c commands) logsCommand() *cobra.Command {
	var follow bool
	var since string
	tail := 100
	cmd := &cobra.Command{
		Use:   "logs FUNCTION",
		Short: "Show what a function logged",
		Long: "Show what a function logged, oldest first. With -f, go on with new lines as they come, until Ctrl-C.\n" +
			"A lost connection is taken up again where it broke off. -o json prints one record per line with -f.",
		Example:           "  picloud logs hello --since 15m\n  picloud logs -f hello --tail 0",
		Args:              command.Args(1, 1),
		ValidArgsFunction: c.CompleteFunctions,
		RunE: func(cmd *cobra.Command, names []string) error {
			if tail < 0 || tail > 1000 {
				return failure.Usagef(cmd, "--tail is 0 to 1000")
			}
			params := client.GetLogsParams{Tail: &tail, Follow: &follow}
			if since != "" {
				if err := checkSince(since); err != nil {
					return failure.Usagef(cmd, "--since %q %v", since, err)
				}
				params.Since = &since
			}
			node, err := c.Connect()
			if err != nil {
				return err
			}
			f := follower{c: c, node: node, app: c.App, function: names[0], params: params}
			if follow {
				return f.follow(cmd.Context())
			}
			return f.list(cmd.Context())
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new lines as they come")
	cmd.Flags().IntVar(&tail, "tail", tail, "at most this many of the newest lines, 0 to 1000")
	cmd.Flags().StringVar(&since, "since", "", "only lines from then on: 15m (back from now) or 2026-01-02T15:04:05Z")
	return cmd
}

func checkSince(text string) error {
	if d, err := picloud.ParseDuration(text); err == nil && d >= 0 {
		return nil
	}
	if _, err := time.Parse(time.RFC3339, text); err == nil {
		return nil
	}
	return errors.New("is neither a duration such as 15m or 1d nor a time such as 2026-01-02T15:04:05Z")
}

// readLogs is what errors say was tried.
const readLogs = "read logs of"

// follower reads the log of one function.
type follower struct {
	c             commands
	node          *command.Node
	app, function string
	params        client.GetLogsParams

	first, last time.Time // of the first record that was printed, and of the newest
	printed     recent    // to print none twice after the log broke off
	again       bool      // it did
}

func (f *follower) list(ctx context.Context) error {
	logs, err := command.Ask(ctx, f.node, readLogs, f.app+"/"+f.function, func(ctx context.Context, node *command.Node) (client.LogList, error) {
		return client.Read[client.LogList](node.GetLogs(ctx, f.app, f.function, &f.params))
	})
	if err != nil {
		return failure.NoFunction(err, f.app, f.function)
	}
	if logs.Items == nil {
		logs.Items = []client.LogRecord{}
	}
	return f.c.Print(logs.Items, func() {
		for _, record := range logs.Items {
			f.c.Printf("%s\n", logLine(record))
		}
	})
}

// follow prints records until ctx ends, which is not a failure. What can be
// mended by waiting is tried again; anything else ends it.
func (f *follower) follow(ctx context.Context) error {
	wait := firstRetry
	for {
		printed, err := f.stream(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !temporary(err):
			return f.fail(err)
		}
		if printed {
			wait = firstRetry
		}
		if err != nil && !client.Ended(err) {
			f.c.Notef("picloud: the log broke off (%v); trying again in %s", err, wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
		f.resume()
	}
}

// resume asks for the records since the last one, rather than for the tail.
// Calls run side by side, so a record may be a little older than one before it.
func (f *follower) resume() {
	if f.last.IsZero() {
		return
	}
	from := f.last.Add(-overlap)
	if from.Before(f.first) {
		from = f.first
	}
	since, tail := from.UTC().Format(time.RFC3339Nano), 1000
	f.params.Since, f.params.Tail, f.again = &since, &tail, true
}

// stream follows until the stream ends.
func (f *follower) stream(ctx context.Context) (printed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := time.AfterFunc(silence, cancel) // also bounds the wait for the first byte
	defer watch.Stop()
	resp, err := f.node.GetLogs(ctx, f.app, f.function, &f.params)
	if err == nil {
		resp.Body = watched{resp.Body, watch}
	}
	for record, err := range client.Logs(resp, err) {
		if err != nil {
			return printed, err
		}
		if seen := f.printed.add(record); seen && f.again {
			continue
		}
		f.note(record.Time)
		if err := f.print(record); err != nil {
			return printed, err
		}
		printed = true
	}
	return printed, nil
}

// note widens the time that was printed.
func (f *follower) note(t time.Time) {
	if f.first.IsZero() {
		f.first = t
	}
	if t.After(f.last) {
		f.last = t
	}
}

// recent knows the last records that went by.
type recent struct {
	keys map[string]bool
	ring [2048]string // what is in keys, the oldest at next
	next int
}

// add remembers a record, and reports whether it was known.
func (r *recent) add(record client.LogRecord) (known bool) {
	key := record.Time.Format(time.RFC3339Nano) + "\x00" + record.Invocation + "\x00" + record.Level + "\x00" + record.Message
	if r.keys == nil {
		r.keys = make(map[string]bool, len(r.ring))
	}
	if r.keys[key] {
		return true
	}
	delete(r.keys, r.ring[r.next])
	r.keys[key], r.ring[r.next] = true, key
	r.next = (r.next + 1) % len(r.ring)
	return false
}

func (f *follower) print(record client.LogRecord) error {
	switch f.c.Format {
	case output.JSON:
		return json.NewEncoder(f.c.Stdout).Encode(record)
	case output.YAML:
		f.c.Printf("---\n")
		return f.c.YAML(record)
	default:
		_, err := fmt.Fprintln(f.c.Stdout, logLine(record))
		return err
	}
}

func (f *follower) fail(err error) error {
	return failure.NoFunction(f.node.Fail(err, readLogs, f.app+"/"+f.function), f.app, f.function)
}

// temporary reports whether following again may help: the server could not be
// reached, ended the stream, or has too much to do.
func temporary(err error) bool {
	var e *picloud.Error
	if !errors.As(err, &e) {
		return !errors.Is(err, io.ErrClosedPipe)
	}
	return e.Op == "reach" || errors.Is(err, picloud.ErrUnavailable) || errors.Is(err, picloud.ErrLimit)
}

// watched is a body whose every byte, heartbeats included, postpones a timer.
type watched struct {
	io.ReadCloser
	timer *time.Timer
}

// Read implements io.Reader.
func (w watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.timer.Reset(silence)
	}
	return n, err
}

// logLine writes a record as one line: time, level, version, message, fields.
func logLine(r client.LogRecord) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-5s ", r.Time.Local().Format("2006-01-02 15:04:05.000"), r.Level)
	if r.Version > 0 { // a draft has none
		fmt.Fprintf(&b, "v%d ", r.Version)
	}
	b.WriteString(r.Message)
	for _, name := range slices.Sorted(maps.Keys(r.Fields)) {
		value, err := output.Compact(r.Fields[name])
		if err != nil {
			continue
		}
		fmt.Fprintf(&b, " %s=%s", name, value)
	}
	return output.Clean(strings.ReplaceAll(b.String(), "\n", `\n`))
}
