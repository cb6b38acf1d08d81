package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/share"
)

// Other is another node of the cluster.
type Other struct {
	ID, Name string
	Alive    bool // else it is away, and is not asked
}

// Others are the other nodes of the cluster. Each remembers the calls that it served.
type Others interface {
	// Others lists them. It is empty as long as this node is alone.
	Others() []Other
	// Get sends GET /node/v1/PATH to one of them. User is who wants to know; the caller has
	// checked that user's rights.
	Get(ctx context.Context, node, user, path string) (*http.Response, error)
}

const (
	// UserHeader names to another node the user who wants to know. Only a node that has
	// checked the user's rights sets it.
	UserHeader = "X-PiCloud-For"

	// otherPatience is how long another node may take for its answer.
	otherPatience = 2 * time.Second
	// maxOtherAnswer bounds the answer of another node, in bytes: the records, and the calls.
	maxOtherAnswer = 4 << 20
	// otherAnswers are read at once, so that many nodes take no more memory than few.
	otherAnswers = 2
	// maxMerged bounds the records of one answer, in bytes, as each node bounds its own.
	maxMerged = 2 << 20
)

// NewForNodes returns what a node answers other nodes: /node/v1. It checks nobody's rights
// and reads no database: the node that asks has done so. It must be reachable for the
// managers of the cluster only.
func NewForNodes(o Options) (http.Handler, error) {
	h, err := newServer(o)
	if err != nil {
		return nil, err
	}
	own := runs{RunStores: o.Runs, node: o.Node, heartbeat: h.o.Heartbeat, followers: share.New(followerShares), trusted: true}
	own.Others = nil // each node answers for itself
	h.handle([]operation{
		on("GET /node/v1/apps/{app}/logs", successes{200: nil}, own.getAppLogs).lasting(func(p any) bool { return isTrue(p.(*getAppLogsParams).Follow) }),
		on("GET /node/v1/invocations", successes{200: nil}, own.listInvocations),
		on("GET /node/v1/invocations/{id}", successes{200: nil}, own.getInvocation),
		on("GET /node/v1/top", successes{200: nil}, own.getWindow),
	})
	return h.identify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		callOf(r.Context()).user.Name = r.Header.Get(UserHeader)
		h.route(w, r)
	})), nil
}

// others lists the other nodes.
func (a runs) others() []Other {
	if a.Others == nil {
		return nil
	}
	return a.Others.Others()
}

// ask gets a path of every other node that is alive, all at the same time. It calls take
// with one answer after the other, and names the nodes that did not answer within patience.
func (a runs) ask(ctx context.Context, patience time.Duration, others []Other, path string, take func(Other, []byte) error) (silent []string, err error) {
	if err := reserve(ctx, min(int64(len(others)), otherAnswers)*maxOtherAnswer); err != nil {
		return nil, err
	}
	user := callOf(ctx).user.Name
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var mu sync.Mutex // guards silent, and what take changes
	var asked sync.WaitGroup
	turn := make(chan struct{}, otherAnswers)
	for _, o := range others {
		asked.Go(func() {
			err := errors.New("away")
			if o.Alive {
				err = a.askOne(ctx, o, user, path, turn, func(body []byte) error {
					mu.Lock()
					defer mu.Unlock()
					return take(o, body)
				})
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				silent = append(silent, o.Name)
			}
		})
	}
	asked.Wait()
	slices.Sort(silent)
	return silent, nil
}

func (a runs) askOne(ctx context.Context, o Other, user, path string, turn chan struct{}, take func([]byte) error) error {
	resp, err := a.Others.Get(ctx, o.ID, user, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return take(nil)
	default:
		return fmt.Errorf("%s answered %s", o.Name, resp.Status)
	}
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxOtherAnswer+1))
	switch {
	case err != nil:
		return err
	case len(body) > maxOtherAnswer:
		return fmt.Errorf("the answer of %s has more than %d bytes", o.Name, maxOtherAnswer)
	}
	return take(body)
}

// logPath is the path at which another node answers a query.
func logPath(q picloud.LogQuery, calls, follow bool, after picloud.LogPosition) string {
	v := url.Values{"tail": {strconv.Itoa(q.Limit)}}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	for name, text := range map[string]string{"functions": strings.Join(q.Functions, ","), "level": q.Level, "call": q.Call} {
		if text != "" {
			v.Set(name, text)
		}
	}
	if after != (picloud.LogPosition{}) {
		v.Set("after", after.String())
	}
	for name, set := range map[string]bool{"calls": calls, "follow": follow} {
		if set {
			v.Set(name, "true")
		}
	}
	return "apps/" + url.PathEscape(q.App) + "/logs?" + v.Encode()
}

// gather adds what the other nodes have to a list, in the order of time.
func (a runs) gather(ctx context.Context, others []Other, q picloud.LogQuery, list *logAnswer, calls bool) (err error) {
	list.silent, err = a.ask(ctx, otherPatience, others, logPath(q, calls, false, picloud.LogPosition{}), func(o Other, body []byte) error {
		var theirs struct {
			Items []json.RawMessage
			Calls []picloud.Invocation
		}
		if body == nil || json.Unmarshal(body, &theirs) != nil {
			return fmt.Errorf("the answer of %s is no log", o.Name)
		}
		for _, item := range theirs.Items {
			list.lines = append(list.lines, lineFrom(o.Name, item))
		}
		list.lines = newestLines(list.lines, q.Limit, a.node)
		list.calls = append(list.calls, theirs.Calls...)
		slices.SortStableFunc(list.calls, byEnd)
		list.calls = list.calls[max(0, len(list.calls)-q.Limit):]
		return nil
	})
	for _, o := range others {
		list.nodes = append(list.nodes, o.Name)
	}
	list.nodes = append(list.nodes, a.node)
	slices.Sort(list.nodes)
	return err
}

// newestLines are the newest records, the oldest first: at most limit, and no more than
// maxMerged bytes.
func newestLines(lines []picloud.LogLine, limit int, node string) []picloud.LogLine {
	slices.SortStableFunc(lines, func(a, b picloud.LogLine) int { return a.Time.Compare(b.Time) })
	lines = lines[max(0, len(lines)-limit):]
	size := 0
	for i, line := range slices.Backward(lines) {
		if size += len(line.JSON); size > maxMerged {
			return append([]picloud.LogLine{remark(node, "older records are left out here: one answer holds 2 MiB of them at most", line.Time)}, lines[i+1:]...)
		}
	}
	return lines
}

// remark is a record that says that others are missing.
func remark(node, text string, at time.Time) picloud.LogLine {
	body, err := jsonOf(picloud.LogRecord{Time: at.UTC(), Level: "warn", Message: text, Node: node, Missing: -1})
	if err != nil {
		body = []byte(`{}`) // no text and no time does that
	}
	return picloud.LogLine{LogPosition: picloud.LogPosition{Time: at}, JSON: body, Node: node}
}

// lineFrom is a record of a node, which says which node that is.
func lineFrom(node string, text []byte) picloud.LogLine {
	var head struct {
		Seq  int64     `json:"seq"`
		Time time.Time `json:"time"`
		Node string    `json:"node"`
	}
	if err := json.Unmarshal(text, &head); err != nil || len(text) < 3 || text[0] != '{' {
		return remark(node, "a record that cannot be read is left out here", time.Now())
	}
	if head.Node == "" {
		named := append(make([]byte, 0, len(text)+len(node)+16), `{"node":`...)
		named = append(strconv.AppendQuote(named, node), ',')
		text = append(named, text[1:]...)
	}
	return picloud.LogLine{LogPosition: picloud.LogPosition{Seq: head.Seq, Time: head.Time}, JSON: text, Node: node}
}

// named makes records say which node they are from.
func named(node string, lines []picloud.LogLine) []picloud.LogLine {
	out := make([]picloud.LogLine, 0, len(lines))
	for _, line := range lines {
		if line.JSON == nil {
			line.Node = node
			out = append(out, line)
			continue
		}
		n := lineFrom(node, line.JSON)
		n.LogPosition = line.LogPosition
		out = append(out, n)
	}
	return out
}

// parsePositions reads the positions of an earlier stream: one, or one of each node, as
// NODE:POSITION, with commas between them. That of this node may stand without its name.
func parsePositions(text, node string) (own picloud.LogPosition, others map[string]picloud.LogPosition, err error) {
	if len(text) > maxPositions {
		return own, nil, fmt.Errorf("it has more than %d bytes", maxPositions)
	}
	others = map[string]picloud.LogPosition{}
	for part := range strings.SplitSeq(text, ",") {
		name, position, found := strings.Cut(part, ":")
		if !found {
			name, position = node, part
		}
		at, err := picloud.ParseLogPosition(position)
		if err != nil {
			return own, nil, err
		}
		if name == node {
			own = at
			continue
		}
		others[name] = at
	}
	return own, others, nil
}

// maxPositions bounds the positions of an earlier stream, in bytes: those of 200 nodes.
const maxPositions = 16 << 10

// gatherRuns adds the calls that the other nodes served to a list, the newest first.
func (a runs) gatherRuns(ctx context.Context, others []Other, v url.Values, limit int, list []picloud.Invocation) (all []picloud.Invocation, silent []string, err error) {
	silent, err = a.ask(ctx, otherPatience, others, "invocations?"+v.Encode(), func(o Other, body []byte) error {
		var theirs struct{ Items []picloud.Invocation }
		if body == nil || json.Unmarshal(body, &theirs) != nil {
			return fmt.Errorf("the answer of %s is no list of calls", o.Name)
		}
		list = append(list, theirs.Items...)
		slices.SortStableFunc(list, func(a, b picloud.Invocation) int {
			return cmp.Or(b.Started.Compare(a.Started), strings.Compare(a.ID, b.ID))
		})
		list = list[:min(limit, len(list))]
		return nil
	})
	return list, silent, err
}

// findRun asks the other nodes for the record of a call.
func (a runs) findRun(ctx context.Context, id string) (found picloud.Invocation, known bool, silent []string, err error) {
	others := a.others()
	if len(others) == 0 {
		return found, false, nil, nil
	}
	silent, err = a.ask(ctx, otherPatience, others, "invocations/"+url.PathEscape(id), func(o Other, body []byte) error {
		if body == nil {
			return nil // it has none
		}
		var theirs picloud.Invocation
		if json.Unmarshal(body, &theirs) != nil || theirs.ID != id {
			return fmt.Errorf("the answer of %s is no record of a call", o.Name)
		}
		found, known = theirs, true
		return nil
	})
	return found, known, silent, err
}
