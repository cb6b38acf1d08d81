package quota

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// door is a gate of the smallest kind: it counts, and nobody waits.
type door struct {
	mu      sync.Mutex
	limit   int
	until   time.Time
	short   func()
	running int
	peak    int
}

func (d *door) Allot(n int, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit, d.until = n, until
}

func (d *door) Watch(short func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.short = short
}

func (d *door) Demand() (running, waiting, peak int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	peak, d.peak = d.peak, d.running
	return d.running, 0, peak
}

// enter reports whether a call may run.
func (d *door) enter() bool {
	d.mu.Lock()
	free := d.running < d.limit && (d.until.IsZero() || time.Now().Before(d.until))
	d.peak = max(d.peak, d.running+1)
	if free {
		d.running++
	}
	short := d.short
	d.mu.Unlock()
	if !free {
		short()
	}
	return free
}

func (d *door) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running--
}

// pair makes two nodes that ask each other.
func pair(view func() View) (a, b *Quota) {
	quotas := map[string]*Quota{}
	for _, id := range []string{"a", "b"} {
		quotas[id] = New(Options{
			View: func() (string, View) { return id, view() },
			Ask: func(_ context.Context, node string, q Ask) (answer Answer, err error) {
				return quotas[node].Answer(id, q), nil
			},
		})
	}
	return quotas["a"], quotas["b"]
}

// TestAloneItCostsNothing: no goroutine, whatever is called.
func TestAloneItCostsNothing(t *testing.T) {
	alone := View{Members: []string{"a"}, Alive: []string{"a"}}
	a, _ := pair(func() View { return alone })
	a.Changed()
	var d door
	a.Enter(fn, 3, &d)
	before := runtime.NumGoroutine()
	for range 3 {
		require.True(t, d.enter())
	}
	require.False(t, d.enter())
	require.Equal(t, before, runtime.NumGoroutine())
	require.Empty(t, a.active)
	a.Stop()
}

// TestTheLoop lets two nodes share a limit with their real goroutines, and ends these: by
// rest, and by Stop.
func TestTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := View{Members: []string{"a"}, Alive: []string{"a"}}
		a, b := pair(func() View { return v })
		var at, bt door
		a.Changed()
		a.Enter(fn, 4, &at)
		require.True(t, at.enter(), "alone it has all")
		require.True(t, at.enter())

		v = View{Members: []string{"a", "b"}, Alive: []string{"a", "b"}}
		a.Changed()
		b.Changed()
		b.Enter(fn, 4, &bt)
		require.False(t, bt.enter(), "it holds nothing yet")
		// calls is how many the node gets in when it goes on trying for some time.
		calls := func(d time.Duration) int {
			for end := time.Now().Add(d); time.Now().Before(end); <-time.After(renew / 20) {
				for range 2 {
					bt.enter()
				}
			}
			return bt.running
		}
		require.Equal(t, 2, calls(settle+2*renew), "two calls run on the other node")
		at.leave()
		at.leave()
		require.Equal(t, 4, calls(5*renew/2), "the other node has given its part back")

		for range 4 {
			bt.leave()
		}
		<-time.After(idle + 2*renew)
		synctest.Wait()
		require.False(t, a.running || b.running, "at rest there is no goroutine")

		require.False(t, bt.enter(), "it gave all back")
		<-time.After(hurry)
		require.True(t, bt.enter(), "one question later")
		b.Leave(fn)
		limit := bt.limit
		<-time.After(time.Minute)
		require.Equal(t, limit, bt.limit, "nobody touches the gate after Leave")

		require.False(t, at.enter())
		a.Stop()
		b.Stop()
		at.enter()
	})
}

// FuzzAnswer: whatever a member asks, the ledger gives no more than the limit, and does not
// panic.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"boot":"x","seq":1,"items":[{"app":"shop","function":"pay","limit":3,"holds":-1,"wants":99}]}`))
	f.Add([]byte(`{"seq":18446744073709551615,"items":[{"limit":-5,"holds":1000000000,"wants":-1},{}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var q Ask
		if json.Unmarshal(raw, &q) != nil {
			return
		}
		now := time.Now()
		l := newLedger("a", View{Members: []string{"a", "b"}, Alive: []string{"a"}}, now.Add(-time.Hour))
		answer := l.answer("b", q, func(picloud.RouteKey) (int, bool) { return 7, true }, now)
		require.LessOrEqual(t, len(answer.Shares), MaxItems)
		for _, s := range answer.Shares {
			require.True(t, s.Granted >= 0 && s.Granted <= 7, s)
		}
	})
}

// TestWhatAMemberSendsIsBounded: names that no function has are not kept, no number makes a
// sum overflow, and a keeper's answer is not believed either.
func TestWhatAMemberSendsIsBounded(t *testing.T) {
	now := time.Now()
	members := []string{"a", "b", "c", "d"}
	l := newLedger("a", View{Members: members, Alive: []string{"a"}}, now.Add(-time.Hour))
	unknown := func(picloud.RouteKey) (int, bool) { return 0, false }
	known := func(picloud.RouteKey) (int, bool) { return 7, true }

	bad := Item{App: strings.Repeat("x", 1<<16), Function: "pay", Limit: 3, Wants: 1}
	require.Equal(t, []Share{{}}, l.answer("b", Ask{Boot: "x", Seq: 1, Items: []Item{bad}}, unknown, now).Shares)
	require.Empty(t, l.accounts)
	require.Empty(t, l.answer("b", Ask{Boot: strings.Repeat("x", maxBoot+1), Seq: 2}, unknown, now).Shares)
	require.Equal(t, "x", l.peers["b"].boot)

	for _, liar := range []string{"b", "c"} { // the sum of what they hold does not overflow
		l.answer(liar, Ask{Boot: "y", Seq: 1, Items: []Item{{App: fn.App, Function: fn.Function, Limit: math.MaxInt, Holds: math.MaxInt, Wants: math.MaxInt}}}, known, now)
	}
	got := l.answer("d", Ask{Boot: "z", Seq: 1, Items: []Item{{App: fn.App, Function: fn.Function, Limit: 7, Wants: 7}}}, known, now)
	require.Zero(t, got.Shares[0].Granted, "nothing is free")

	for i := range maxAccounts {
		l.share("b", Item{App: fn.App, Function: fmt.Sprint("f", i), Limit: 1, Wants: 1}, unknown, now)
	}
	require.Len(t, l.accounts, maxAccounts)
	require.True(t, l.share("c", Item{App: fn.App, Function: "other", Wants: 1}, unknown, now).Elsewhere, "the ledger is full")
	require.False(t, l.share("c", Item{App: fn.App, Function: "other", Wants: 1}, known, now).Elsewhere, "but it counts what runs here, too")

	var d door
	h := &holder{key: fn, limit: 7, gate: &d}
	h.take(Item{}, Share{Granted: math.MinInt, Lease: math.MaxInt64}, now, now)
	require.Zero(t, d.limit)
	require.Equal(t, now.Add(lease), d.until)
}

// TestTheNewestViewCounts: of changes at the same time it is the one that was seen last.
func TestTheNewestViewCounts(t *testing.T) {
	var seen atomic.Int64
	view := func(n int64) View {
		ids := []string{"a", fmt.Sprint("b", n)}
		return View{Members: ids, Alive: ids}
	}
	q := New(Options{View: func() (string, View) {
		n := seen.Add(1)
		runtime.Gosched()
		return "a", view(n)
	}})
	defer q.Stop()
	for range 200 {
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(q.Changed)
		}
		calls.Wait()
		require.Equal(t, view(seen.Load()), q.view)
	}
}
