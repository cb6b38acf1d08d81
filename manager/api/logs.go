package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/picloud/picloud"
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

// GetLogs answers GET /apps/{app}/functions/{function}/logs.
func (s *server) GetLogs(ctx context.Context, r GetLogsRequestObject) (GetLogsResponseObject, error) {
	since, err := parseSince(r.Params.Since, time.Now())
	if err != nil {
		return nil, err
	}
	n := defaultTail
	if r.Params.Tail != nil {
		n = *r.Params.Tail
	}
	if n < 0 || n > maxTail {
		return nil, invalid("tail", "must be between 0 and 1000")
	}
	if _, err := s.o.Functions.Get(ctx, actor(ctx), r.App, r.Function); err != nil {
		return nil, err
	}
	if r.Params.Follow != nil && *r.Params.Follow {
		return s.follow(ctx, r.App, r.Function, n, since)
	}
	records, err := s.tail(ctx, r.App, r.Function, n, since)
	if err != nil {
		return nil, err
	}
	return GetLogs200JSONResponse{Items: records}, nil
}

func (s *server) tail(ctx context.Context, app, function string, n int, since time.Time) ([]picloud.LogRecord, error) {
	if n == 0 {
		return []picloud.LogRecord{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	records, err := s.o.Logs.Tail(ctx, app, function, n, since)
	return list(records), err
}

// follow begins to listen before it reads what is there, so that no record
// falls between the two.
func (s *server) follow(ctx context.Context, app, function string, n int, since time.Time) (GetLogsResponseObject, error) {
	c := callOf(ctx)
	ctx, cancel := context.WithCancel(ctx)
	feed, err := s.o.Logs.Follow(ctx, app, function)
	if err != nil {
		cancel()
		return nil, err
	}
	backlog, err := s.tail(ctx, app, function, n, since)
	if err != nil {
		cancel()
		return nil, err
	}
	return &stream{
		ctx: ctx, cancel: cancel, feed: feed, backlog: backlog, since: since, requestID: c.id, heartbeat: s.o.Heartbeat,
		allowed: func() error { return s.mayRead(ctx, c, app, function) },
	}, nil
}

// mayRead checks again who reads a followed log. An outage ends no stream.
func (s *server) mayRead(ctx context.Context, c *call, app, function string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	user, err := s.o.Manager.Authenticate(ctx, c.token)
	if err == nil {
		_, err = s.o.Functions.Get(ctx, picloud.Actor{User: user.Name, Admin: user.Admin}, app, function)
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
	if d, err := time.ParseDuration(*text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, invalid("since", `must be a time such as 2026-01-31T08:00:00Z, or a duration such as "15m"`)
}

// Interface guard.
var _ GetLogsResponseObject = (*stream)(nil)

// VisitGetLogsResponse sends the stream until its end.
func (s *stream) VisitGetLogsResponse(w http.ResponseWriter) error {
	defer s.cancel()
	return s.send(w)
}
