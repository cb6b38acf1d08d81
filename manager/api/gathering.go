package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
)

const (
	// gatherHold is how long a followed log holds a record, so that earlier ones of other
	// nodes come before it.
	gatherHold = 250 * time.Millisecond
	// maxGathered bounds the records that a followed log holds, in bytes. Beyond it they go
	// out at once, and the nodes wait.
	maxGathered = 1 << 20
	// maxOtherEvent bounds one event of another node, in bytes.
	maxOtherEvent = 4 << 20
	// otherSilence is how long another node may send nothing: three heartbeats.
	otherSilence = 3 * DefaultHeartbeat
	// Waits between attempts to follow another node again.
	firstOtherRetry, lastOtherRetry = 500 * time.Millisecond, 10 * time.Second
	// newOthers is how often a followed log looks for nodes that are new.
	newOthers = 5 * time.Second
)

// gathering merges the followed logs of several nodes in the order of time.
type gathering struct {
	a    runs
	q    picloud.LogQuery
	user string
	call bool // calls too
	wake chan struct{}
	room chan struct{} // has a value when there may be room again

	mu      sync.Mutex // guards what follows
	lines   []gathered // in the order of their keys
	size    int
	calls   []picloud.Invocation
	last    map[string]time.Time // the newest key of each node: the order of a node's own records stays
	reading map[string]bool      // nodes that have a reader, by id
	opening map[string]bool      // nodes whose first records are not all there, by name
	until   time.Time            // when nobody waits for those any more
	err     error                // the end of this node's own log
}

// gathered is a record that is held.
type gathered struct {
	picloud.LogLine
	key, came time.Time
}

// sinceAll asks a node that was not followed before for all that came since the newest
// position of the others.
func sinceAll(q picloud.LogQuery, after map[string]picloud.LogPosition) picloud.LogQuery {
	if q.After.Time.After(q.Since) {
		q.Since = q.After.Time
	}
	for _, p := range after {
		if p.Time.After(q.Since) {
			q.Since = p.Time
		}
	}
	q.Limit = maxTail
	return q
}

// followAll makes a stream that of all nodes. Everything that it starts ends with the
// stream.
func (a runs) followAll(ctx context.Context, s *stream, q picloud.LogQuery, calls bool, others []Other, after map[string]picloud.LogPosition) {
	g := &gathering{
		a: a, q: q, call: calls, user: callOf(ctx).user.Name, wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		last: map[string]time.Time{}, reading: map[string]bool{}, opening: map[string]bool{a.node: q.After == (picloud.LogPosition{})},
		until: time.Now().Add(otherPatience),
	}
	var readers sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	end := s.end
	s.end = func() {
		cancel()
		readers.Wait()
		end()
	}
	own := s.next
	readers.Go(func() { g.readOwn(ctx, own) })
	resumed := len(after) > 0 || q.After != (picloud.LogPosition{})
	start := func(o Other, q picloud.LogQuery) {
		if g.enter(o, !resumed) {
			readers.Go(func() { g.readOther(ctx, o, q, after[o.Name]) })
		}
	}
	for _, o := range others {
		if _, followed := after[o.Name]; resumed && !followed {
			start(o, sinceAll(q, after))
			continue
		}
		start(o, q)
	}
	readers.Go(func() {
		tick := time.NewTicker(newOthers)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			for _, o := range a.others() {
				fresh := q
				fresh.Since, fresh.Limit = time.Now().Add(-newOthers), maxTail
				start(o, fresh)
			}
		}
	})
	s.next, s.arrived = g.next, g.arrived
}

// enter notes that a node gets a reader, and whether its first records are waited for. It
// reports false if the node has one.
func (g *gathering) enter(o Other, first bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reading[o.ID] {
		return false
	}
	g.reading[o.ID], g.opening[o.Name] = true, o.Alive && first
	return true
}

// readOwn reads the log of this node.
func (g *gathering) readOwn(ctx context.Context, next func(context.Context) ([]picloud.LogLine, error)) {
	for {
		lines, err := next(ctx)
		if err != nil {
			g.mu.Lock()
			g.err = err
			g.mu.Unlock()
			g.rouse()
			return
		}
		for _, line := range lines {
			line.JSON, line.Node = bytes.Clone(line.JSON), g.a.node
			if line.JSON != nil {
				line = named(g.a.node, []picloud.LogLine{line})[0]
			}
			if !g.add(ctx, line) {
				return
			}
		}
	}
}

// readOther reads the log of another node until ctx ends or the node is none any more. It
// says once each time that the node does not answer, and that it does again.
func (g *gathering) readOther(ctx context.Context, o Other, q picloud.LogQuery, after picloud.LogPosition) {
	wait, told := firstOtherRetry, false
	for {
		answered, err := g.stream(ctx, o, q, &after, func() bool {
			return !told || g.add(ctx, remark(o.Name, o.Name+" answers again: what it logged meanwhile follows", time.Now()))
		})
		if ctx.Err() != nil {
			return
		}
		if answered {
			wait, told = firstOtherRetry, false
		}
		drained := picloud.CodeOf(err) == picloud.CodeDraining
		if !told && !drained {
			told = true
			text := o.Name + " does not answer: what it logs is missing from here on, and comes when it does"
			if !g.add(ctx, remark(o.Name, text, time.Now())) {
				return
			}
		}
		g.opened(o.Name)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, lastOtherRetry)
		if !slices.ContainsFunc(g.a.others(), func(n Other) bool { return n.ID == o.ID }) {
			g.mu.Lock()
			delete(g.reading, o.ID)
			g.mu.Unlock()
			return
		}
	}
}

// stream reads one stream of another node, and moves after along. It calls begun when the
// node answers, and ends if that returns false.
func (g *gathering) stream(ctx context.Context, o Other, q picloud.LogQuery, after *picloud.LogPosition, begun func() bool) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := time.AfterFunc(otherPatience, cancel)
	defer watch.Stop()
	var heard atomic.Int64 // when it last sent something, in nanoseconds
	heard.Store(time.Now().UnixNano())
	defer g.look(ctx, cancel, o, &heard)()
	resp, err := g.a.Others.Get(ctx, o.ID, g.user, logPath(q, g.call, true, *after))
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%s answered %s", o.Name, resp.Status)
	}
	if !begun() {
		return true, ctx.Err()
	}
	watch.Reset(otherSilence)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 16<<10), maxOtherEvent)
	var name, id string
	var data []byte
	for lines.Scan() {
		watch.Reset(otherSilence)
		heard.Store(time.Now().UnixNano())
		field, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case string(field) == "event":
			name = string(value)
		case string(field) == "id":
			id = string(value)
		case string(field) == "data":
			data = bytes.Clone(value)
		case len(lines.Bytes()) == 0 && (name != "" || id != ""):
			if err := g.event(ctx, o, name, id, data, after); err != nil {
				return true, err
			}
			name, id, data = "", "", nil
		}
	}
	if err := lines.Err(); err != nil {
		return true, err
	}
	return true, io.ErrUnexpectedEOF
}

// look ends the stream of a node that the gossip holds for dead and that has missed a
// heartbeat: one that is frozen or has lost its power closes no connection. The result
// stops it.
func (g *gathering) look(ctx context.Context, end func(), o Other, heard *atomic.Int64) (stop func()) {
	var timer *time.Timer
	var mu sync.Mutex // guards timer
	look := func() {
		mu.Lock()
		defer mu.Unlock()
		quiet := time.Since(time.Unix(0, heard.Load()))
		if quiet < DefaultHeartbeat || slices.ContainsFunc(g.a.others(), func(n Other) bool { return n.ID == o.ID && n.Alive }) {
			if ctx.Err() == nil {
				timer.Reset(newOthers)
			}
			return
		}
		end()
	}
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(newOthers, look)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		timer.Stop()
	}
}

// event takes one event of another node.
func (g *gathering) event(ctx context.Context, o Other, name, id string, data []byte, after *picloud.LogPosition) error {
	var line picloud.LogLine
	switch name {
	case "end":
		var p struct{ Code picloud.Code }
		if json.Unmarshal(data, &p) != nil {
			return errors.New("the end of the log cannot be read")
		}
		return &picloud.Error{Code: p.Code}
	case "call":
		var call picloud.Invocation
		if err := json.Unmarshal(data, &call); err != nil {
			return err
		}
		g.addCall(call)
		return nil
	case "log":
		line = lineFrom(o.Name, data)
		line.Node = o.Name
	case "":
		line.Node = o.Name
	default:
		return nil // a newer node says something that this one does not know
	}
	if id != "" {
		at, err := picloud.ParseLogPosition(id[strings.LastIndexByte(id, ':')+1:])
		if err != nil {
			return err
		}
		line.LogPosition, *after = at, at
	} else {
		line.Seq = 0
	}
	if !g.add(ctx, line) {
		return ctx.Err()
	}
	return nil
}

// add holds a record, and waits until there is room for it. A line without a record ends
// the first records of its node. It reports false when ctx has ended.
func (g *gathering) add(ctx context.Context, line picloud.LogLine) bool {
	for !g.hold(line) {
		select {
		case <-g.room: // of whoever comes next too, if there is room for two
			defer signal(g.room)
		case <-ctx.Done():
			return false
		}
	}
	if line.JSON == nil {
		g.opened(line.Node)
	}
	g.rouse()
	return ctx.Err() == nil
}

func (g *gathering) hold(line picloud.LogLine) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.size > maxGathered {
		return false
	}
	key := line.Time
	if last := g.last[line.Node]; last.After(key) {
		key = last
	}
	g.last[line.Node] = key
	held := gathered{line, key, time.Now()}
	i, _ := slices.BinarySearchFunc(g.lines, key, func(h gathered, key time.Time) int {
		if h.key.After(key) {
			return 1
		}
		return -1 // behind those of the same time
	})
	g.lines = slices.Insert(g.lines, i, held)
	g.size += len(line.JSON) + 64
	return true
}

// addCall holds a call that another node served. Beyond the bound the oldest is left out.
func (g *gathering) addCall(call picloud.Invocation) {
	g.mu.Lock()
	g.calls = append(g.calls, call)
	g.calls = g.calls[max(0, len(g.calls)-4*maxTail):]
	g.mu.Unlock()
	g.rouse()
}

// arrived returns the calls that other nodes served since it was last called.
func (g *gathering) arrived() (calls []picloud.Invocation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	calls, g.calls = g.calls, nil
	return calls
}

// opened notes that the first records of a node are there, or will not come soon.
func (g *gathering) opened(node string) {
	g.mu.Lock()
	delete(g.opening, node)
	g.mu.Unlock()
	g.rouse()
}

// rouse wakes whoever waits in next.
func (g *gathering) rouse() { signal(g.wake) }

// signal wakes one who waits on a channel of size one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// next implements what Logs.Follow returns.
func (g *gathering) next(ctx context.Context) ([]picloud.LogLine, error) {
	for {
		out, wait, err := g.ripe(time.Now())
		if len(out) > 0 || err != nil {
			return out, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-g.wake:
			timer.Stop()
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// ripe returns the records that were held long enough, and else how long to wait.
func (g *gathering) ripe(now time.Time) (out []picloud.LogLine, wait time.Duration, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := false
	for _, opening := range g.opening {
		waiting = waiting || opening
	}
	full := g.size > maxGathered
	if waiting && now.Before(g.until) && !full && g.err == nil {
		return nil, g.until.Sub(now), nil
	}
	n := 0
	for i, h := range g.lines {
		if full || g.err != nil || now.Sub(h.came) >= gatherHold {
			n = i + 1 // and all that are earlier
		}
	}
	if n == 0 {
		if len(g.lines) == 0 {
			return nil, time.Minute, g.err
		}
		return nil, max(gatherHold-now.Sub(g.lines[0].came), time.Millisecond), nil
	}
	for _, h := range g.lines[:n] {
		out = append(out, h.LogLine)
		g.size -= len(h.JSON) + 64
	}
	g.lines = slices.Delete(g.lines, 0, n)
	signal(g.room)
	return out, 0, nil
}
