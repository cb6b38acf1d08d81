package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// Logs reads what functions logged on this node.
type Logs interface {
	// Tail returns the newest n records of a function since a time, oldest first.
	Tail(ctx context.Context, app, function string, n int, since time.Time) ([]picloud.LogRecord, error)
	// Follow feeds new records until ctx ends, or until the node drains. A reader
	// that is too slow loses records.
	Follow(ctx context.Context, app, function string) (<-chan picloud.LogRecord, error)
}

const (
	defaultTail = 100
	maxTail     = 1000
)

// getLogs answers GET /apps/{app}/functions/{function}/logs.
func (a runs) getLogs(ctx context.Context, p getLogsParams, _ none) (out answer[logAnswer], err error) {
	since, err := parseSince(p.Since, time.Now())
	if err != nil {
		return out, err
	}
	n := defaultTail
	if p.Tail != nil {
		n = *p.Tail
	}
	if n < 0 || n > maxTail {
		return out, invalid("tail", "must be between 0 and 1000")
	}
	if _, err := a.functions.Get(ctx, actor(ctx), p.App, p.Function); err != nil {
		return out, err
	}
	if p.Follow != nil && *p.Follow {
		s, err := a.follow(ctx, p.App, p.Function, n, since)
		return ok(logAnswer{stream: s}), err
	}
	records, err := a.tail(ctx, p.App, p.Function, n, since)
	if err != nil {
		return out, err
	}
	return ok(logAnswer{list: client.LogList{Items: records}}), nil
}

func (a runs) tail(ctx context.Context, app, function string, n int, since time.Time) ([]picloud.LogRecord, error) {
	if n == 0 {
		return []picloud.LogRecord{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	records, err := a.Logs.Tail(ctx, app, function, n, since)
	return list(records), err
}

// follow begins to listen before it reads what is there, so that no record
// falls between the two.
func (a runs) follow(ctx context.Context, app, function string, n int, since time.Time) (*stream, error) {
	c := callOf(ctx)
	ctx, cancel := context.WithCancel(ctx)
	feed, err := a.Logs.Follow(ctx, app, function)
	if err != nil {
		cancel()
		return nil, err
	}
	backlog, err := a.tail(ctx, app, function, n, since)
	if err != nil {
		cancel()
		return nil, err
	}
	return &stream{
		ctx: ctx, cancel: cancel, feed: feed, backlog: backlog, since: since, requestID: c.id, heartbeat: a.heartbeat,
		allowed: func() error { return a.mayRead(ctx, c, app, function) },
	}, nil
}

// mayRead checks again who reads a followed log. An outage ends no stream.
func (a runs) mayRead(ctx context.Context, c *call, app, function string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	user, err := a.manager.Authenticate(ctx, c.token)
	if err == nil {
		_, err = a.functions.Get(ctx, picloud.Actor{User: user.Name, Admin: user.Admin}, app, function)
	}
	if errors.Is(err, picloud.ErrUnavailable) {
		return nil
	}
	return err
}

// parseSince reads a time, or a duration back from now.
func parseSince(text *string, now time.Time) (time.Time, error) {
	if text == nil || *text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, *text); err == nil {
		return t, nil
	}
	if d, err := picloud.ParseDuration(*text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, invalid("since", `must be a time such as 2026-01-31T08:00:00Z, or a duration such as "15m" or "1d"`)
}

// logAnswer is a list of records, or a stream of them.
type logAnswer struct {
	list   client.LogList
	stream *stream // nil: the list
}

func (l logAnswer) send(w http.ResponseWriter) error {
	if l.stream == nil {
		return sendJSON(w, http.StatusOK, l.list)
	}
	defer l.stream.cancel()
	return l.stream.send(w)
}
