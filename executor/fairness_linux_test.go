package executor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// nices lists the nice values of a process's threads.
func nices(t *testing.T, pid int) []int {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	require.NoError(t, err)
	var out []int
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // the thread ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		nice, err := strconv.Atoi(strings.Fields(rest)[16])
		require.NoError(t, err)
		out = append(out, nice)
	}
	return out
}

func all(values []int, want int) bool {
	for _, v := range values {
		if v != want {
			return false
		}
	}
	return len(values) > 0
}

// TestSpinningWorker has a worker spin, die, spin again and come to rest.
func TestSpinningWorker(t *testing.T) {
	e := launch(t, nil)
	f, neighbour := function(e, "shop", "f", nil), function(e, "good", "f", nil)
	must(t, neighbour, "/pid")
	var wg sync.WaitGroup
	spin := func(ms int) {
		wg.Go(func() { _, _ = invoke(t, f, "/spin/"+strconv.Itoa(ms)) })
		eventually(t, "runs", func() bool { return e.live("shop").busy.Load() == 1 })
	}
	spin(60_000)
	first := e.live("shop")
	require.True(t, all(nices(t, first.process.PID()), 0))
	eventually(t, "its priority is the lowest", func() bool { return all(nices(t, first.process.PID()), lowest) })
	require.EqualValues(t, 1, value(e.metrics.low))
	require.True(t, all(nices(t, e.live("good").process.PID()), 0))

	require.NoError(t, syscall.Kill(first.process.PID(), syscall.SIGKILL))
	wg.Wait()
	require.Zero(t, value(e.metrics.low))
	spin(1200)
	second := e.live("shop")
	require.NotEqual(t, first.process.PID(), second.process.PID())
	require.True(t, all(nices(t, second.process.PID()), lowest), "a fresh one does not begin all over")
	wg.Wait()
	if os.Geteuid() == 0 {
		eventually(t, "raised again", func() bool { return all(nices(t, second.process.PID()), 0) })
		require.Same(t, second, e.live("shop"))
		require.Zero(t, e.kills(causeReplaced))
	} else {
		eventually(t, "replaced", func() bool { return e.kills(causeReplaced) == 1 })
	}
	require.Zero(t, value(e.metrics.low))
	eventually(t, "nobody looks any more", func() bool { return e.watch.armed.Load()-e.now() > int64(10*time.Second) })
}

// TestSpinningWorkerReplaced is what happens where nobody may raise a priority.
func TestSpinningWorkerReplaced(t *testing.T) {
	e := launch(t, nil)
	e.mayRaise = false
	f := function(e, "shop", "f", nil)
	pid := must(t, f, "/pid")
	wg := sync.WaitGroup{}
	wg.Go(func() { must(t, f, "/spin/3000") })
	eventually(t, "its priority is lowered", func() bool { return value(e.metrics.low) == 1 })
	wg.Wait()
	require.EqualValues(t, 1, value(e.metrics.low))
	eventually(t, "replaced", func() bool { return e.kills(causeReplaced) == 1 })
	require.Zero(t, value(e.metrics.low))
	require.NotEqual(t, pid, must(t, f, "/pid"))
}

// TestShare feeds looks to the measurement.
func TestShare(t *testing.T) {
	var s share
	now, cpu := int64(time.Hour), int64(0)
	look := func(percent, oldest int64, rested bool) int {
		now += samplePause
		cpu += samplePause * percent / 100
		return s.sample(now, cpu, oldest, rested)
	}
	s.wake(now, func() int64 { return cpu })
	for range 100 {
		require.Zero(t, look(50, longCall, true), "half of a core is no spin")
		require.Zero(t, look(5, longCall, false))
		s.ended = 1000
		require.Zero(t, look(100, longCall-1, false), "quick calls are none")
	}
	for range 10 { // nor is less than a second
		require.Zero(t, look(100, longCall, false))
		require.Zero(t, look(100, longCall, false))
		require.Zero(t, look(100, longCall, false))
		require.Zero(t, look(10, longCall, true))
	}
	spins := func(percent, oldest, ended int64, rested bool) {
		for i := range 4 {
			s.ended = ended
			require.Equal(t, i/3, look(percent, oldest, rested))
		}
		s.hot = 0
	}
	spins(60, longCall, 1000, true) // a long call among quick ones
	spins(60, 0, 5, true)           // many that are not quick
	spins(10, longCall, 0, false)   // one that others keep from the processor
	s.low = true
	for range 100 {
		require.Zero(t, look(1, longCall, false), "kept from it altogether, it does not rest")
	}
	require.Zero(t, look(3, longCall, true))
	require.Zero(t, look(3, longCall, true))
	require.Zero(t, look(60, longCall, true), "it works again")
	require.Zero(t, look(3, longCall, true))
	s.ended = 1000
	require.Zero(t, look(100, 0, false), "quick calls only")
	require.Zero(t, look(3, longCall, true))
	require.Equal(t, -1, look(3, longCall, true))
	s.low = false
	require.Zero(t, look(0, 0, true))
	require.False(t, s.watched(false))

	now += int64(time.Hour) // asleep
	s.wake(now, func() int64 { return cpu })
	spins(100, longCall, 0, false) // an hour of rest does not hide it
}
