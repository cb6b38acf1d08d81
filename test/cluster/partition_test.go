package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// handover is how long a manager that does not reach the database may keep its place while
// another voter reaches it: it looks for another one after 30 s, and the handover takes up
// to 10 s. Until it has noticed that nothing answers, 15 s more may go by.
const handover = 55 * time.Second

// TestManagerCutOff cuts the manager from the other voters, who all reach the database: one
// of them manages, and the former one writes nothing any more.
func TestManagerCutOff(t *testing.T) {
	t.Parallel()
	l, e := voting(t)
	if !l.needsNamespaces() {
		return
	}
	cuts := map[string]func(n *node) func(){
		"in both directions": func(n *node) func() { return n.part(l.but(n)...) },
	}
	if long() {
		cuts["so that it sends nothing"] = func(n *node) func() { return cut(t, n.to(l.but(n)...)...) }
		cuts["so that it hears nothing"] = func(n *node) func() { return cut(t, n.from(l.but(n)...)...) }
	}
	for how, cut := range cuts {
		l.changesHands(e, "the manager was cut off from the other voters "+how, 40*time.Second, cut)
	}
}

// TestManagerWithoutDatabase cuts the manager from the database, and not from the other
// voters: it hands over to one of them.
func TestManagerWithoutDatabase(t *testing.T) {
	t.Parallel()
	l, e := voting(t)
	if !l.needsNamespaces() {
		return
	}
	for range either(1, 3) {
		l.changesHands(e, "the manager was cut off from the database", handover, e.cut)
	}
}

// changesHands cuts the manager from something, and requires that another node manages
// within a time, under deploys through all nodes and calls of functions on all nodes; and
// that all is well soon after the cut has healed.
func (l *lab) changesHands(e *commonDatabase, what string, within time.Duration, cut func(*node) (heal func())) {
	l.t.Helper()
	former, before := e.manager(l), e.epoch()
	w := write("ledger-"+before, soon, l.nodes...)
	calls := underLoad("steady", l.nodes...)
	former.await("a first deploy", healing, func() bool { _, ok := w.acknowledgedSince(time.Time{}); return ok })
	heal := cut(former)
	since := time.Now()
	took := former.await("another manager", within, func() bool { return e.epoch() != before })
	next := e.manager(l)
	require.NotEqual(l.t, former, next)
	changed := time.Now()
	next.await("a deploy through it", healing, func() bool { _, ok := w.acknowledgedSince(changed); return ok })
	d, _ := w.acknowledgedSince(changed)
	pause(5 * time.Second)
	heal()
	healed := time.Now()
	follows := former.await("the former manager to follow", healing, func() bool { return former.cluster().Manager == e.manager(l).name })
	l.awaitHeard(3, healing-time.Since(healed))
	l.awaitLive(healing)
	all := time.Since(healed)
	calls.requireAll(former)
	deploys := w.end()
	acknowledged, refused, unsure := e.requireLedger(w.function, deploys)
	e.requireOneWriter()
	l.t.Logf("%s: another one had the epoch after %s, a deploy went through after %s; the former one followed %s after the cut had healed, and all took part after %s; %d deploys acknowledged, %d refused, %d with no answer",
		what, short(took), short(d.done.Sub(since)), short(follows), short(all), acknowledged, refused, unsure)
}
