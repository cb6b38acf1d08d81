package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMeasure measures three nodes that do nothing: processor, memory and statements of
// each, and how long joining and a deploy take. It runs for the time that
// PICLOUD_BENCH_CLUSTER says; without it, for a moment, so that it stays whole.
func TestMeasure(t *testing.T) {
	t.Parallel()
	idle, err := time.ParseDuration(os.Getenv("PICLOUD_BENCH_CLUSTER"))
	if err != nil {
		idle = 3 * time.Second
	}
	l := newLab(t)
	one := l.add().found()
	var joins []time.Duration
	for range 2 {
		invitation := one.invite()
		begun := time.Now()
		l.join(invitation)
		joins = append(joins, time.Since(begun))
	}
	l.awaitLive(healing)
	t.Logf("from `picloud run --join` to a node that is ready: %v", rounded(joins))

	var deploys, everywhere []time.Duration
	for i := range either(20, 200) {
		text := strconv.Itoa(i)
		begun := time.Now()
		one.deploy("hello", text)
		deploys = append(deploys, time.Since(begun))
		for _, n := range l.nodes {
			n.awaitAnswer("hello", text, healing)
		}
		everywhere = append(everywhere, time.Since(begun))
	}
	slices.Sort(deploys)
	slices.Sort(everywhere)
	t.Logf("a deploy with --wait all, %d times: median %s, slowest %s; seen by a caller of every node: median %s, slowest %s", len(deploys),
		deploys[len(deploys)/2].Round(time.Millisecond), deploys[len(deploys)-1].Round(time.Millisecond),
		everywhere[len(everywhere)/2].Round(time.Millisecond), everywhere[len(everywhere)-1].Round(time.Millisecond))

	l.rest(idle)
	var spent []time.Duration
	for _, n := range l.nodes {
		spent = append(spent, n.processor())
	}
	transactions := one.transactions()
	before := l.statements(t)
	begun := time.Now()
	pause(idle)
	took := time.Since(begun)
	for i, n := range l.nodes {
		t.Logf("%s, idle for %s: %.2f %% of a core, %d MiB resident", n.name, took.Round(time.Second),
			100*(n.processor()-spent[i]).Seconds()/took.Seconds(), n.resident()>>20)
	}
	perMinute := float64(l.statements(t)-before) / took.Minutes()
	t.Logf("all nodes together: %.1f SQL statements and %.1f transactions per minute, %.1f statements per node", perMinute,
		float64(one.transactions()-transactions)/took.Minutes(), perMinute/float64(len(l.nodes)))
	if os.Getenv("PICLOUD_BENCH_STATEMENTS") != "" {
		raw, _ := os.ReadFile(filepath.Join(one.data, "postgres.log"))
		t.Logf("%s", raw)
	}
	if idle > time.Minute {
		require.LessOrEqual(t, perMinute/float64(len(l.nodes)), 6.0)
	}
}

func rounded(all []time.Duration) (out []time.Duration) {
	for _, d := range all {
		out = append(out, d.Round(10*time.Millisecond))
	}
	return out
}

// rest makes the database write down what it is asked, and waits until nothing goes on any more,
// if nodes that do nothing are measured for a longer time.
func (l *lab) rest(idle time.Duration) {
	l.t.Helper()
	for _, statement := range []string{
		"ALTER SYSTEM SET log_statement = 'all'", "ALTER SYSTEM SET log_line_prefix = '%m [%p] %r %u '", "SELECT pg_reload_conf()",
	} {
		l.nodes[0].sql(statement)
	}
	if idle > time.Minute {
		pause(75 * time.Second) // executors end, and what the deploys began
	}
}

// statements counts what the database has been asked since it writes that down.
func (l *lab) statements(t *testing.T) (count int) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(l.nodes[0].data, "postgres.log"))
	require.NoError(t, err)
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, "LOG:  statement: ") || strings.Contains(line, "LOG:  execute ") {
			count++
		}
	}
	return count
}

// transactions is how many the database has ended.
func (n *node) transactions() int {
	text := n.sql("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'picloud'")
	count, err := strconv.Atoi(text)
	require.NoError(n.t, err)
	return count
}

// processor is what the node's process has used of the processors.
func (n *node) processor() time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	require.NoError(n.t, err)
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	ticks := 0
	for _, f := range fields[11:13] { // user and system, in hundredths of a second
		n64, err := strconv.Atoi(f)
		require.NoError(n.t, err)
		ticks += n64
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// resident is the memory of the node's process, in bytes.
func (n *node) resident() int {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", n.cmd.Process.Pid))
	require.NoError(n.t, err)
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	require.NoError(n.t, err)
	return pages * os.Getpagesize()
}
