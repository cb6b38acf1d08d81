package machine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemoryIsTheSmallestLimit(t *testing.T) {
	require.Positive(t, Memory())
	for name, c := range map[string]struct {
		groups string
		files  map[string]string
		want   int64
	}{
		"no groups":    {"", nil, 8000},
		"no limit":     {"0::/system.slice/picloud.service\n", map[string]string{"/sys/fs/cgroup/system.slice/picloud.service/memory.max": "max\n"}, 8000},
		"its own":      {"0::/system.slice/picloud.service\n", map[string]string{"/sys/fs/cgroup/system.slice/picloud.service/memory.max": "500\n", "/sys/fs/cgroup/system.slice/memory.max": "700\n"}, 500},
		"a parent's":   {"0::/a/b\n", map[string]string{"/sys/fs/cgroup/a/b/memory.max": "700\n", "/sys/fs/cgroup/a/memory.max": "600\n"}, 600},
		"a container":  {"0::/\n", map[string]string{"/sys/fs/cgroup/memory.max": "300\n"}, 300},
		"version 1":    {"3:cpu:/x\n5:memory:/docker/1\n0::/\n", map[string]string{"/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "400\n"}, 400},
		"1, unlimited": {"5:memory:/\n", map[string]string{"/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 8000},
		"odd lines":    {"x\n0::\n", map[string]string{"/sys/fs/cgroup/memory.max": "nothing"}, 8000},
	} {
		require.Equal(t, c.want, limited(8000, c.groups, func(f string) string { return c.files[f] }), name)
	}
}
