package cluster

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestManagerKills kills the manager again and again, under deploys through the nodes that
// are left and calls of functions on them: each call is answered, each deploy that was
// acknowledged is there once and is served, and no two nodes ever write at the same time.
func TestManagerKills(t *testing.T) {
	t.Parallel()
	l, e := voting(t)
	var without, elected []time.Duration
	var acknowledged, refused, unsure int
	for round := range kills() {
		victim, before := e.manager(l), e.epoch()
		require.NotNil(t, victim)
		others := l.but(victim)
		calls := underLoad("steady", others...)
		w := write(fmt.Sprint("ledger-", round), soon, others...)
		victim.await("a first deploy", healing, func() bool { _, ok := w.acknowledgedSince(time.Time{}); return ok })
		killed := time.Now()
		victim.kill()
		gone := time.Now()
		others[0].await("a deploy through the next manager", 30*time.Second, func() bool {
			_, ok := w.acknowledgedSince(gone)
			return ok
		})
		d, _ := w.acknowledgedSince(gone)
		without = append(without, d.done.Sub(killed))
		elected = append(elected, e.acquired().Sub(killed))
		require.NotEqual(t, before, e.epoch())
		require.NotEqual(t, victim, e.manager(l))
		victim.start()
		victim.await("the next manager", healing, func() bool { return victim.cluster().Manager == e.manager(l).name })
		calls.requireAll(victim)
		all := w.end()
		a, r, u := e.requireLedger(w.function, all)
		acknowledged, refused, unsure = acknowledged+a, refused+r, unsure+u
		for _, n := range l.nodes {
			n.await("what was acknowledged last", healing, func() bool { _, body := n.call(w.function); return served(all)[body] })
		}
	}
	e.requireOneWriter()
	require.Len(t, l.nodes[0].cluster().Voters, 3)
	slices.Sort(without)
	slices.Sort(elected)
	p95 := without[(len(without)*95+99)/100-1]
	t.Logf("%d kills of the manager: without one median %s, p95 %s, slowest %s (of it until the next had the epoch: median %s, slowest %s); %d deploys acknowledged, %d refused, %d with no answer",
		len(without), short(without[len(without)/2]), short(p95), short(without[len(without)-1]),
		short(elected[len(elected)/2]), short(elected[len(elected)-1]), acknowledged, refused, unsure)
	if len(without) >= 20 {
		require.LessOrEqual(t, p95, 15*time.Second)
	}
}

// acquired is when the present leadership began.
func (e *commonDatabase) acquired() time.Time {
	e.t.Helper()
	micro, err := strconv.ParseInt(e.ask(`SELECT (extract(epoch FROM acquired_at) * 1000000)::bigint FROM leadership`)[0][0], 10, 64)
	require.NoError(e.t, err)
	return time.UnixMicro(micro)
}

// kills is how often the manager is killed.
func kills() int {
	if count, err := strconv.Atoi(os.Getenv("PICLOUD_TEST_CLUSTER_KILLS")); err == nil {
		return count
	}
	return either(5, 200)
}

func short(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
