package worker

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/wire"
)

// BenchmarkProcess keeps a number of calls under way in a real worker. What a
// call costs the worker says more than how long it takes on a busy machine.
func BenchmarkProcess(b *testing.B) {
	for _, window := range []int{1, 32} {
		for name, source := range map[string]string{
			"text":  `function handle(req) { return "hello" }`,
			"hello": `function handle(req) { return {hello: req.query.name ?? "world"} }`,
			"echo":  `function handle(req) { return req.json() }`,
		} {
			b.Run(fmt.Sprintf("%s/%d", name, window), func(b *testing.B) {
				a := realProcess(b, 64<<20).greet(64 << 20)
				require.NoError(b, a.socket.SetReadDeadline(time.Time{}))
				slot := a.load(source)
				v := &wire.Invoke{
					Slot: uint32(slot), Timeout: 10 * time.Second, Trigger: "http", ID: "01JABCDEFGHJKMNPQRSTVWXYZ0", Method: "GET", Path: "/", Query: "name=Ada",
					ClientIP: "127.0.0.1", Header: map[string][]string{"Host": {"localhost:8080"}, "User-Agent": {"wrk"}, "Accept": {"*/*"}},
				}
				if name == "echo" {
					v.Body = []byte(`{"id":17,"name":"Ada Lovelace","text":"` + strings.Repeat("x", 960) + `"}`)
				}
				answers := func(n int) {
					for range n {
						h, _, err := a.reader.Next()
						require.NoError(b, err)
						require.Equal(b, wire.TypeResult, h.Type)
					}
				}
				calls := func(n int) {
					for range n {
						a.calls++
						a.writer.Queue(wire.TypeInvoke, a.calls, v)
					}
					require.NoError(b, a.writer.Flush())
				}
				calls(1000)
				answers(1000)
				before := cpuOf(b, a.process.Pid)
				b.ReportAllocs()
				b.ResetTimer()
				for left := b.N; left > 0; left -= window {
					n := min(window, left)
					calls(n)
					answers(n)
				}
				b.StopTimer()
				b.ReportMetric(float64(cpuOf(b, a.process.Pid)-before)/float64(b.N), "worker-ns/op")
				b.ReportMetric(float64(pss(b, a.process.Pid)), "pss-kB")
			})
		}
	}
}

// cpuOf returns what a process used, in nanoseconds.
func cpuOf(b *testing.B, pid int) int64 {
	total := int64(0)
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	require.NoError(b, err)
	for _, task := range tasks {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
		require.NoError(b, err)
		n, err := strconv.ParseInt(strings.Fields(string(stat))[0], 10, 64)
		require.NoError(b, err)
		total += n
	}
	return total
}

func pss(b *testing.B, pid int) int {
	smaps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	require.NoError(b, err)
	_, rest, _ := strings.Cut(string(smaps), "\nPss:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(b, err)
	return n
}
