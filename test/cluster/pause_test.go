package cluster

import (
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestManagerFrozen stops the process of the manager without an end, in the middle of
// deploys, until another node manages: when it goes on, it is deposed. It writes nothing any
// more, answers what it had been asked, follows the next manager, and serves all the time.
func TestManagerFrozen(t *testing.T) {
	t.Parallel()
	l, e := voting(t)
	frozen := e.manager(l)
	others := l.but(frozen)
	const patience = 2 * time.Minute // its answers come when it goes on
	frozen.http.Timeout = patience
	before := e.epoch()

	var writers []*writer
	for i := range 4 {
		writers = append(writers, write(fmt.Sprint("direct-", i), patience, frozen))
	}
	elsewhere := write("ledger", soon, others...)
	calls := underLoad("steady", others...)
	for _, w := range append(writers, elsewhere) {
		others[0].await("a first deploy", healing, func() bool { _, ok := w.acknowledgedSince(time.Time{}); return ok })
	}

	// One deploy is in the middle of its statement.
	release := e.holdUp()
	var caught deploying
	var all sync.WaitGroup
	all.Go(func() { caught = frozen.publish("caught", "caught", patience) })
	others[0].await("a deploy in the middle of its statement", healing, func() bool { return e.waiting() != "0" })
	answered := make(chan func(), 1)
	all.Go(func() { answered <- waitsFor(others[0]) })
	pause(time.Second) // it is with the manager, which has not answered
	frozen.signal(syscall.SIGSTOP)
	release()
	stopped := time.Now()
	others[0].await("a deploy through the next manager", 40*time.Second, func() bool {
		_, ok := elsewhere.acknowledgedSince(stopped)
		return ok && e.epoch() != before
	})
	next, took := e.manager(l), time.Since(stopped)
	require.NotEqual(t, frozen, next)
	pause(5 * time.Second)
	if long() {
		pause(time.Until(stopped.Add(30 * time.Second)))
	}
	others[0].await("the answer to a change that was with the frozen manager, which is still frozen", 25*time.Second, func() bool { return len(answered) > 0 })
	frozen.signal(syscall.SIGCONT)
	woken := time.Now()
	own := underLoad("steady", frozen)
	follows := frozen.await("the deposed manager to follow", 10*time.Second, func() bool {
		return frozen.send(t.Context(), http.MethodGet, frozen.control("/api/v1/cluster"), "").header.Get("X-PiCloud-Leader") == next.name
	})
	all.Wait()
	(<-answered)()
	for _, w := range append(writers, elsewhere) {
		frozen.await("a deploy after the thaw", healing, func() bool { _, ok := w.acknowledgedSince(woken); return ok })
	}
	own.requireAll(frozen)
	calls.requireAll(next)

	requireAnswered := func(d deploying) {
		t.Helper()
		require.NotZero(t, d.answer.status, "%s: no answer: %s", d.text, d.answer.body)
		made := e.ask(fmt.Sprintf(`SELECT 1 FROM code WHERE source = convert_to('%s', 'UTF8')`, returning(d.text)))
		require.Equal(t, d.acknowledged(), len(made) == 1, "%s was answered with %d %s, and the database has %d of it", d.text, d.answer.status, d.answer.body, len(made))
	}
	requireAnswered(caught)
	underWay := 0
	for _, w := range writers {
		deploys := w.end()
		for _, d := range deploys {
			if d.begun.Before(stopped) && d.done.After(woken) {
				underWay++
				requireAnswered(d)
			}
		}
		e.requireLedger(w.function, deploys)
	}
	require.NotZero(t, underWay)
	e.requireLedger("ledger", elsewhere.end())
	e.requireOneWriter()
	l.awaitLive(healing)
	t.Logf("another node managed %s after the freeze; the deposed one followed it %s after the thaw; of %d deploys under way the one in the middle of its statement was answered with %d",
		short(took), short(follows), underWay+1, caught.answer.status)
}

// waitsFor sends a change through a node whose manager falls silent before it answers. What it returns
// requires that the answer did not wait for a connection that never breaks.
func waitsFor(n *node) (check func()) {
	begun := time.Now()
	status, body := n.put("waits", returning("through a node whose manager is silent"))
	took := time.Since(begun)
	return func() {
		n.t.Helper()
		n.t.Logf("a change through %s had its answer after %s: %d", n.name, took.Round(time.Millisecond), status)
		require.Contains(n.t, []int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusServiceUnavailable}, status, body)
		require.Less(n.t, took, 25*time.Second)
	}
}
