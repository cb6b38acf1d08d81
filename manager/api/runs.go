package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/share"
	"github.com/picloud/picloud/manager"
	"github.com/picloud/picloud/manager/api/client"
	"github.com/picloud/picloud/manager/top"
)

// defaultRuns is how many records are listed when the caller does not say.
const defaultRuns = 50

// Runs keeps the records of recent calls on this node.
type Runs interface {
	// Invocations returns the newest records of an app's functions, or of all its
	// functions if there are none, that keep wants (nil: all), the newest first.
	Invocations(app string, functions []string, limit int, keep func(*picloud.Invocation) bool) []picloud.Invocation
	// Invocation finds a record by the call's id.
	Invocation(id string) (picloud.Invocation, bool)
	// Follow returns a function that returns the calls that ended since it was last
	// called, and how many others did that nobody remembers.
	Follow(app string, functions []string) func() (ended []picloud.Invocation, missed int64)
}

// RunStores are the stores of the area runs: what nodes remember of calls.
type RunStores struct {
	Runs Runs
	Logs Logs
	// Meter says what this node does.
	Meter Meter
	// Others are asked too, for what they remember. Default: there are no other nodes.
	Others Others `default:"none"`
}

// Meter reads what a node has counted.
type Meter interface {
	// Sample returns the counters of the functions of some apps, or of all if there are none.
	Sample(apps []string) top.Sample
}

// runs is the area of logs and invocation records, and of what goes on now.
type runs struct {
	RunStores
	apps      AppFinder
	listed    AppStore
	functions FunctionFinder
	manager   *manager.Manager
	node      string
	heartbeat time.Duration
	followers *share.Places // of logs
	trusted   bool          // another node asks, which has checked the caller's rights
}

// followerShares divide the streams of logs of a node by user and app.
var followerShares = share.Options{Total: 64, Each: []int{8, 24}, Kept: 16}

type (
	ofInvocation struct {
		ID string `path:"id"`
	}
	getLogsParams struct {
		inFunction
		client.GetLogsParams
	}
	getAppLogsParams struct {
		inApp
		client.GetAppLogsParams
	}
)

func (a runs) operations() []operation {
	return []operation{
		on("GET /api/v1/apps/{app}/functions/{function}/logs", successes{200: nil}, a.getLogs).lasting(func(p any) bool { return isTrue(p.(*getLogsParams).Follow) }),
		on("GET /api/v1/apps/{app}/logs", successes{200: nil}, a.getAppLogs).lasting(func(p any) bool { return isTrue(p.(*getAppLogsParams).Follow) }),
		on("GET /api/v1/top", successes{200: nil}, a.getTop),
		on("GET /api/v1/invocations", successes{200: nil}, a.listInvocations),
		on("GET /api/v1/invocations/{id}", successes{200: nil}, a.getInvocation),
	}
}

// listInvocations answers GET /invocations.
func (a runs) listInvocations(ctx context.Context, p client.ListInvocationsParams, _ none) (out answer[client.InvocationList], err error) {
	at, err := page(p.Limit, nil)
	if err != nil {
		return out, err
	}
	if at.Limit == 0 {
		at.Limit = defaultRuns
	}
	now := time.Now()
	keep, err := runFilter(p.Status, p.Since, now)
	if err != nil {
		return out, err
	}
	var function string
	if p.Function != nil {
		function = *p.Function
	}
	var functions []string
	if function != "" {
		functions = []string{function}
	}
	if err := a.mayReadLogs(ctx, actor(ctx), picloud.LogQuery{App: p.App, Functions: functions}); err != nil {
		return out, err
	}
	found := client.InvocationList{Items: list(a.Runs.Invocations(p.App, functions, at.Limit, keep))}
	if others := a.others(); len(others) > 0 {
		v := url.Values{"app": {p.App}, "limit": {strconv.Itoa(at.Limit)}}
		for name, text := range map[string]*string{"function": p.Function, "status": p.Status} {
			if text != nil && *text != "" {
				v.Set(name, *text)
			}
		}
		if since, _ := parseSince(p.Since, now); !since.IsZero() {
			v.Set("since", since.Format(time.RFC3339Nano))
		}
		found.Items, found.Unanswered, err = a.gatherRuns(ctx, others, v, at.Limit, found.Items)
	}
	return ok(found), err
}

// runFilter says which records a caller asks for; nil: all of them.
func runFilter(status, since *string, now time.Time) (keep func(*picloud.Invocation) bool, err error) {
	from, err := parseSince(since, now)
	if err != nil {
		return nil, err
	}
	matches, err := parseStatus(status)
	switch {
	case err != nil:
		return nil, err
	case from.IsZero():
		return matches, nil
	}
	return func(i *picloud.Invocation) bool {
		return !i.Started.Before(from) && (matches == nil || matches(i))
	}, nil
}

// parseStatus reads a status code, a class of them, or how a call went.
func parseStatus(text *string) (func(*picloud.Invocation) bool, error) {
	if text == nil || *text == "" {
		return nil, nil
	}
	failed := (*picloud.Invocation).Failed
	switch *text {
	case "failed":
		return failed, nil
	case "ok":
		return func(i *picloud.Invocation) bool { return !failed(i) }, nil
	}
	digits, isClass := strings.CutSuffix(*text, "xx")
	n, err := strconv.Atoi(digits)
	switch {
	case err == nil && isClass && len(digits) == 1 && n >= 1 && n <= 5:
		return func(i *picloud.Invocation) bool { return i.Status/100 == n }, nil
	case err == nil && !isClass && len(digits) == 3 && n >= 100 && n <= 599:
		return func(i *picloud.Invocation) bool { return i.Status == n }, nil
	}
	return nil, invalid("status", "must be a status code such as 500, a class such as 5xx, failed or ok")
}

// getInvocation answers GET /invocations/{id}, to members of the call's app.
func (a runs) getInvocation(ctx context.Context, p ofInvocation, _ none) (out answer[picloud.Invocation], err error) {
	missing := &picloud.Error{
		Code: picloud.CodeNotFound, Op: "get invocation", Resource: picloud.Shorten(p.ID, 80),
		Detail: "this node has no record of it", Hint: fmt.Sprintf("records are kept on the node that served the call, until it restarts; this is %s", a.node),
	}
	record, known := a.Runs.Invocation(p.ID)
	if !known {
		var silent []string
		if record, known, silent, err = a.findRun(ctx, p.ID); err != nil {
			return out, err
		}
		if len(a.others()) > 0 {
			missing.Detail, missing.Hint = "no node has a record of it", "records are kept on the node that served the call, until it restarts"
		}
		if len(silent) > 0 {
			missing.Detail = "no node that answered has a record of it; these did not answer: " + strings.Join(silent, ", ")
		}
	}
	if !known {
		return out, missing
	}
	if a.trusted {
		return ok(record), nil
	}
	if _, _, err := a.apps.Get(ctx, actor(ctx), record.App); err != nil {
		if picloud.CodeOf(err) == picloud.CodeNotFound {
			err = missing // whether the call happened is not for strangers
		}
		return out, err
	}
	return ok(record), nil
}

const (
	// The window of GET /top.
	leastWindow, usualWindow, mostWindow = 100 * time.Millisecond, 2 * time.Second, 10 * time.Second
	// maxTopApps bounds the apps of a caller whose functions are shown.
	maxTopApps = 200
)

// windowParams are what one node asks another.
type windowParams struct {
	Window string  `form:"window"`
	Apps   *string `form:"apps"`
}

// getWindow answers another node what this one did for some time.
func (a runs) getWindow(ctx context.Context, p windowParams, _ none) (out answer[top.Window], err error) {
	window, err := parseWindow(&p.Window)
	if err != nil {
		return out, err
	}
	var apps []string
	if p.Apps != nil && *p.Apps != "" {
		apps = strings.Split(*p.Apps, ",")
	}
	w, err := a.watch(ctx, window, apps)
	return ok(w), err
}

// watch waits for the time of a window.
func (a runs) watch(ctx context.Context, window time.Duration, apps []string) (w top.Window, err error) {
	from := a.Meter.Sample(apps)
	timer := time.NewTimer(window)
	defer timer.Stop()
	select {
	case <-timer.C:
		return top.Between(from, a.Meter.Sample(apps)), nil
	case <-ctx.Done():
		return w, ctx.Err()
	}
}

func parseWindow(text *string) (time.Duration, error) {
	if text == nil || *text == "" {
		return usualWindow, nil
	}
	window, err := picloud.ParseDuration(*text)
	if err != nil || window < leastWindow || window > mostWindow {
		return 0, invalid("window", "must be a duration of 100ms to 10s")
	}
	return window, nil
}

// getTop answers GET /top.
func (a runs) getTop(ctx context.Context, p client.GetTopParams, _ none) (out answer[client.Top], err error) {
	at, err := page(p.Limit, nil)
	if err != nil {
		return out, err
	}
	window, err := parseWindow(p.Window)
	if err != nil {
		return out, err
	}
	order := top.ByCalls
	if p.Sort != nil && *p.Sort != "" {
		if order = *p.Sort; !slices.Contains(top.Orders, order) {
			return out, invalid("sort", "must be "+strings.Join(top.Orders, ", "))
		}
	}
	who := actor(ctx)
	apps, err := a.topApps(ctx, who, p.App)
	if err != nil {
		return out, err
	}
	found := client.Top{Window: picloud.Duration(window), Functions: []client.TopFunction{}}
	if apps != nil && len(apps) == 0 {
		return ok(found), nil
	}
	others := a.others()
	v := url.Values{"window": {window.String()}, "apps": {strings.Join(apps, ",")}}
	var table top.Table
	var own top.Window
	var ownErr error
	var measured sync.WaitGroup
	measured.Go(func() { own, ownErr = a.watch(ctx, window, apps) })
	found.Unanswered, err = a.ask(ctx, window+otherPatience, others, "top?"+v.Encode(), func(o Other, body []byte) error {
		var w top.Window
		if body == nil || json.Unmarshal(body, &w) != nil {
			return fmt.Errorf("the answer of %s has no figures", o.Name)
		}
		table.Add(w)
		found.Nodes = append(found.Nodes, topNode(o.Name, w.Machine))
		return nil
	})
	measured.Wait()
	if err = cmp.Or(err, ownErr); err != nil {
		return out, err
	}
	table.Add(own)
	found.Nodes = append(found.Nodes, topNode(a.node, own.Machine))
	slices.SortFunc(found.Nodes, func(x, y client.TopNode) int { return strings.Compare(x.Name, y.Name) })
	if !who.Admin {
		found.Nodes = nil
	}
	rows, more := table.Rows(order, at.Size(), func(app string) bool { return apps == nil || slices.Contains(apps, app) })
	found.More = more
	for _, r := range rows {
		found.Functions = append(found.Functions, client.TopFunction{
			App: r.App, Function: r.Function, Calls: r.Calls, Errors: r.Errors, Running: r.Running, Waiting: r.Waiting,
			P50: picloud.Duration(r.P50), P99: picloud.Duration(r.P99), Mean: picloud.Duration(r.Mean),
		})
	}
	return ok(found), nil
}

// topApps are the apps whose functions a caller sees; nil: all.
func (a runs) topApps(ctx context.Context, who picloud.Actor, app *string) (names []string, err error) {
	if app != nil && *app != "" {
		if _, _, err := a.apps.Get(ctx, who, *app); err != nil {
			return nil, err
		}
		return []string{*app}, nil
	}
	if who.Admin {
		return nil, nil
	}
	names = []string{}
	for at := (picloud.Page{Limit: picloud.MaxPageSize}); len(names) < maxTopApps; {
		items, next, err := a.listed.List(ctx, who, at)
		if err != nil {
			return nil, err
		}
		for _, app := range items {
			names = append(names, app.Name)
		}
		if next == "" {
			break
		}
		at.Cursor = next
	}
	return names[:min(len(names), maxTopApps)], nil
}

func topNode(name string, m top.Machine) client.TopNode {
	return client.TopNode{
		Name: name, Load: m.Load, Cores: m.Cores, Memory: m.Memory, Available: m.Available,
		Executors: m.Executors, Reserved: m.Reserved, Running: m.Running,
	}
}
