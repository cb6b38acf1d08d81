package function

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

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
)

// readLogs is what errors say was tried.
const readLogs = "read logs of"

// follower reads the log of some functions of an app, or of all.
type follower struct {
	c         commands
	node      *command.Node
	app       string
	functions []string // none: all
	params    client.GetAppLogsParams
	cut       bool // the user may not expect that list leaves out earlier lines

	several bool   // the records are of several nodes
	printed recent // calls, to print none twice after the log broke off
}

// after is where the next stream begins.
func (f *follower) after() string {
	if f.params.After == nil {
		return ""
	}
	return *f.params.After
}

// resource names what is read.
func (f *follower) resource() string {
	if len(f.functions) == 0 {
		return f.app
	}
	return f.app + "/" + strings.Join(f.functions, ",")
}

// follow prints records until ctx ends, which is not a failure. What can be
// mended by waiting is tried again; anything else ends it.
func (f *follower) follow(ctx context.Context) error {
	wait := firstRetry
	if f.c.ForPeople() && output.Terminal(f.c.Stdout) && output.Terminal(f.c.Stderr) {
		f.c.Notef("following %s; Ctrl-C ends", f.resource())
	}
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
	}
}

// stream follows until the stream ends. The next stream begins where it ended.
func (f *follower) stream(ctx context.Context) (printed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := time.AfterFunc(silence, cancel) // also bounds the wait for the first byte
	defer watch.Stop()
	resp, err := f.node.GetAppLogs(ctx, f.app, &f.params)
	if err == nil {
		resp.Body = watched{resp.Body, watch}
	}
	for event, err := range client.Follow(resp, err) {
		if err != nil {
			return printed, err
		}
		if event.Position != "" {
			after := client.After(f.after(), event.Position)
			// A duration such as 15m would count back from the moment of the next attempt,
			// and leave out what was logged while the connection was broken.
			f.params.After, f.params.Since, f.several = &after, nil, f.several || strings.Contains(after, ":")
		}
		switch {
		case event.Record != nil:
			err = f.print(event.Record, func() string { return f.line(*event.Record) })
		case event.Call != nil && f.printed.add(event.Call.ID):
			err = f.print(map[string]any{"call": event.Call}, func() string { return f.callLine(*event.Call) })
		}
		if err != nil {
			return printed, err
		}
		printed = true
	}
	return printed, nil
}

// recent knows the ids of the last calls that went by.
type recent struct {
	known map[string]bool
	ring  [2048]string // what is known, the oldest at next
	next  int
}

// add remembers an id, and reports whether it is new.
func (r *recent) add(id string) (fresh bool) {
	if r.known == nil {
		r.known = make(map[string]bool, len(r.ring))
	}
	if r.known[id] {
		return false
	}
	delete(r.known, r.ring[r.next])
	r.known[id], r.ring[r.next] = true, id
	r.next = (r.next + 1) % len(r.ring)
	return true
}

// print writes an event for programs as it is, and for people as a line.
func (f *follower) print(v any, line func() string) error {
	switch f.c.Format {
	case output.JSON:
		return json.NewEncoder(f.c.Stdout).Encode(v)
	case output.YAML:
		f.c.Printf("---\n")
		return f.c.YAML(v)
	default:
		_, err := fmt.Fprintln(f.c.Stdout, line())
		return err
	}
}

func (f *follower) fail(err error) error {
	return f.missing(f.node.Fail(err, readLogs, f.resource()))
}

// missing says what to do when the app or a function is not there.
func (f *follower) missing(err error) error {
	if len(f.functions) == 0 {
		return failure.NoApp(err, f.app)
	}
	name := f.functions[0]
	if missed, ok := errors.AsType[*failure.Failure](err); ok && len(f.functions) > 1 {
		for _, function := range f.functions { // the node says which of them
			if strings.HasSuffix(missed.Err.Detail, " "+f.app+"/"+function) {
				name = function
				missed.Err.Op, missed.Err.Resource, missed.Err.Detail = readLogs, f.app+"/"+function, ""
			}
		}
	}
	return failure.NoFunction(err, f.app, name)
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
