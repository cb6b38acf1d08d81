package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// Logs reads what functions logged on this node.
type Logs interface {
	// Tail returns the newest records that a query asks for, oldest first. It asks for
	// the room of each record before it holds it.
	Tail(ctx context.Context, q picloud.LogQuery, room func(bytes int64) error) ([]picloud.LogLine, error)
	// Follow returns a function that waits for the next records and returns them, which
	// are valid until its next call. It returns io.EOF when the node drains or the app is
	// gone. All ends with ctx.
	Follow(ctx context.Context, q picloud.LogQuery) (next func(context.Context) ([]picloud.LogLine, error), err error)
}

const (
	defaultTail = 100
	maxTail     = 1000
	// maxLogFunctions bounds the functions of one query.
	maxLogFunctions = 50
	// callOverlap is how far before a position a stream looks for calls: one that breaks
	// off has held them for a moment. Its reader knows the calls that it has, by id.
	callOverlap = 2 * time.Second
	// maxCallID is longer than any id of a call is.
	maxCallID = 128
)

// getLogs answers GET /apps/{app}/functions/{function}/logs.
func (a runs) getLogs(ctx context.Context, p getLogsParams, _ none) (out answer[logAnswer], err error) {
	g := p.GetLogsParams
	return a.logs(ctx, p.App, client.GetAppLogsParams{
		Functions: &p.Function, Since: g.Since, Tail: g.Tail, Follow: g.Follow, After: g.After, Level: g.Level, Call: g.Call, Calls: g.Calls,
	})
}

// getAppLogs answers GET /apps/{app}/logs.
func (a runs) getAppLogs(ctx context.Context, p getAppLogsParams, _ none) (out answer[logAnswer], err error) {
	return a.logs(ctx, p.App, p.GetAppLogsParams)
}

func (a runs) logs(ctx context.Context, app string, p client.GetAppLogsParams) (out answer[logAnswer], err error) {
	q, after, err := logQuery(app, a.node, p, time.Now())
	if err != nil {
		return out, err
	}
	others := a.others()
	if err := a.mayReadLogs(ctx, actor(ctx), q); err != nil {
		return out, err
	}
	calls := isTrue(p.Calls)
	if isTrue(p.Follow) {
		s, err := a.follow(ctx, q, calls, others, after)
		return ok(logAnswer{stream: s}), err
	}
	list := logAnswer{}
	if list.lines, err = a.tail(ctx, q); err != nil {
		return out, err
	}
	if calls {
		list.calls, err = a.newestCalls(ctx, q)
	}
	if err == nil && len(others) > 0 {
		list.lines = named(a.node, list.lines)
		err = a.gather(ctx, others, q, &list, calls)
	}
	return ok(list), err
}

// isTrue reports whether a parameter that may be left out is true.
func isTrue(p *bool) bool { return p != nil && *p }

// logQuery reads the parameters of a log. After are the positions in the logs of others.
func logQuery(app, node string, p client.GetAppLogsParams, now time.Time) (q picloud.LogQuery, after map[string]picloud.LogPosition, err error) {
	q = picloud.LogQuery{App: app, Limit: defaultTail}
	if q.Since, err = parseSince(p.Since, now); err != nil {
		return q, nil, err
	}
	if p.Tail != nil {
		q.Limit = *p.Tail
	}
	if q.Limit < 0 || q.Limit > maxTail {
		return q, nil, invalid("tail", "must be between 0 and 1000")
	}
	if p.Functions != nil && *p.Functions != "" {
		q.Functions = strings.Split(*p.Functions, ",")
	}
	if len(q.Functions) > maxLogFunctions {
		return q, nil, invalid("functions", "has at most 50 names, with commas between them")
	}
	if p.Level != nil {
		q.Level = *p.Level
	}
	if q.Level != "" && !slices.Contains(picloud.LogLevels, q.Level) {
		return q, nil, invalid("level", "must be one of "+strings.Join(picloud.LogLevels, ", "))
	}
	if p.Call != nil {
		q.Call = *p.Call
	}
	if q.Call != "" && (len(q.Call) < 4 || len(q.Call) > maxCallID) {
		return q, nil, invalid("call", "must be the id of a call, or the end of it, of 4 characters or more")
	}
	if p.After != nil && *p.After != "" {
		if q.After, after, err = parsePositions(*p.After, node); err != nil {
			return q, nil, invalid("after", "must be the id of an event of an earlier stream, or those of several nodes with commas between them")
		}
	}
	return q, after, nil
}

// mayReadLogs checks that somebody may read the log of these functions, or of the app.
func (a runs) mayReadLogs(ctx context.Context, who picloud.Actor, q picloud.LogQuery) (err error) {
	if a.trusted {
		return nil
	}
	if len(q.Functions) == 0 {
		_, _, err = a.apps.Get(ctx, who, q.App)
		return err
	}
	for _, function := range q.Functions {
		if _, err := a.functions.Get(ctx, who, q.App, function); err != nil {
			return err
		}
	}
	return nil
}

func (a runs) tail(ctx context.Context, q picloud.LogQuery) ([]picloud.LogLine, error) {
	if q.Limit == 0 {
		return nil, nil
	}
	return a.Logs.Tail(ctx, q, func(bytes int64) error { return reserve(ctx, bytes) })
}

// callSize is what the record of a call takes besides its texts, which the node holds
// anyway, in bytes.
const callSize = 256

// newestCalls returns the calls that a query asks for, in the order in which they ended.
func (a runs) newestCalls(ctx context.Context, q picloud.LogQuery) ([]picloud.Invocation, error) {
	limit, since := q.Limit, q.Since
	if q.After != (picloud.LogPosition{}) { // all that came since
		limit = maxTail
	}
	if limit == 0 {
		return nil, nil
	}
	if err := reserve(ctx, callSize*int64(limit)); err != nil {
		return nil, err
	}
	if from := q.After.Time.Add(-callOverlap); from.After(since) {
		since = from
	}
	calls := a.Runs.Invocations(q.App, q.Functions, limit, func(i *picloud.Invocation) bool { return !i.Ended().Before(since) && wantsCall(&q, i) })
	slices.SortFunc(calls, byEnd)
	return calls, nil
}

// wantsCall reports whether a query asks for a call.
func wantsCall(q *picloud.LogQuery, i *picloud.Invocation) bool {
	return (q.Call == "" || strings.HasSuffix(i.ID, q.Call)) &&
		(q.Level == "" || slices.Index(picloud.LogLevels, i.Level()) >= slices.Index(picloud.LogLevels, q.Level))
}

func byEnd(a, b picloud.Invocation) int { return a.Ended().Compare(b.Ended()) }

// follow opens a stream. Whoever opens one takes a place of the node's.
func (a runs) follow(ctx context.Context, q picloud.LogQuery, calls bool, others []Other, after map[string]picloud.LogPosition) (s *stream, err error) {
	c := callOf(ctx)
	give, free := a.followers.Take(c.user.Name, q.App)
	if !free {
		return nil, &picloud.Error{
			Code: picloud.CodeQueueFull, Op: "follow logs", Resource: q.App, RetryAfter: 10 * time.Second,
			Detail: "all streams that you, the app or this node may have are open",
			Hint:   "close one: a node has 64, 8 of them for one user and 24 for one app, and the last 16 are for users who have none",
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	end := func() { cancel(); give() }
	s = &stream{
		ctx: ctx, end: end, q: q, requestID: c.id, heartbeat: a.heartbeat,
		allowed: func() error { return a.mayReadOn(ctx, c, q) },
	}
	if calls {
		s.calls = a.Runs.Follow(q.App, q.Functions)
		if s.held, err = a.newestCalls(ctx, q); err != nil {
			end()
			return nil, err
		}
		s.began = callOf(ctx).memory.GiveAll
		s.known = map[string]bool{} // calls that ended between the two are in both
		for _, call := range s.held {
			s.known[call.ID] = true
		}
	}
	if len(others) > 0 && q.After == (picloud.LogPosition{}) && len(after) > 0 { // this node was not among those that were followed
		q = sinceAll(q, after)
	}
	if s.next, err = a.Logs.Follow(ctx, q); err != nil {
		end()
		return nil, err
	}
	if len(others) > 0 {
		a.followAll(ctx, s, q, calls, others, after)
	}
	return s, nil
}

// mayReadOn checks again who reads a followed log. An outage ends no stream.
func (a runs) mayReadOn(ctx context.Context, c *call, q picloud.LogQuery) error {
	if a.trusted {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	user, err := a.manager.Authenticate(ctx, c.token)
	if err == nil {
		err = a.mayReadLogs(ctx, picloud.Actor{User: user.Name, Admin: user.Admin}, q)
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
	lines  []picloud.LogLine
	calls  []picloud.Invocation
	nodes  []string // that were asked; none: there is only this one
	silent []string // of those, that did not answer
	stream *stream  // nil: the list
}

// send writes the records as the log holds them: they are JSON already.
func (l logAnswer) send(w http.ResponseWriter) error {
	if l.stream != nil {
		defer l.stream.end()
		return l.stream.send(w)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	parts := [][]byte{[]byte(`{"items":[`)}
	for i, line := range l.lines {
		if i > 0 {
			parts = append(parts, []byte(","))
		}
		parts = append(parts, line.JSON)
	}
	parts = append(parts, []byte("]"))
	if l.calls != nil {
		text, err := jsonOf(l.calls)
		if err != nil {
			return err
		}
		parts = append(parts, []byte(`,"calls":`), text)
	}
	for name, nodes := range map[string][]string{"nodes": l.nodes, "unanswered": l.silent} {
		if len(nodes) == 0 {
			continue
		}
		text, err := jsonOf(nodes)
		if err != nil {
			return err
		}
		parts = append(parts, []byte(`,"`+name+`":`), text)
	}
	parts = append(parts, []byte("}\n"))
	for _, part := range parts {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}
