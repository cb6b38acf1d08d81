package target

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestServersAreTheSame(t *testing.T) {
	for _, same := range [][2]string{
		{"http://127.0.0.1:8081", "http://localhost:8081/"},
		{"http://[::1]:8081", "http://127.0.0.1:8081"},
		{"https://pi", "https://PI:443"},
	} {
		require.Truef(t, sameServer(same[0], same[1]), "%v", same)
	}
	for _, different := range [][2]string{
		{"http://127.0.0.1:8081", "http://127.0.0.1:9081"},
		{"http://pi:8081", "https://pi:8081"},
		{"http://pi:8081", "http://pi.evil:8081"},
		{"http://localhost:8081", "http://localhost.evil:8081"},
		{"http://127.0.0.1:8081", "http://127.0.0.1:8081@evil"},
		{"", ""},
	} {
		require.Falsef(t, sameServer(different[0], different[1]), "%v", different)
	}
}

func TestServersAreCompleted(t *testing.T) {
	for text, want := range map[string]string{
		"localhost:8081": "http://localhost:8081", "127.0.0.1:8081/": "http://127.0.0.1:8081", "[::1]:8081": "http://[::1]:8081",
		"pi-1.local:8081": "http://pi-1.local:8081", "https://pi": "https://pi", "http://pi/": "http://pi",
	} {
		got, err := completeServer(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "foo", "localhost", "ftp://pi", "pi:", ":8081", "pi:http", "pi:99999", "http://", "http://pi/path", "http://a@pi", "pi:80/x", "a:b:80", "user@pi:80"} {
		_, err := completeServer(text)
		require.Error(t, err, text)
	}
}

// TestFunctionsAreWhereTheNodeSays: the node knows its port and its address, and not under which
// name others reach it. What somebody named comes first.
func TestFunctionsAreWhereTheNodeSays(t *testing.T) {
	f, _ := newFinder(t)
	for _, c := range []struct{ server, named, said, want string }{
		{"http://127.0.0.1:18082", "", "http://localhost:18081", "http://localhost:18081"}, // another node of this machine
		{"http://127.0.0.1:18082", "", "http://10.0.0.2:8080", "http://10.0.0.2:8080"},     // through a tunnel
		{"http://pi-2:8081", "", "http://localhost:9080", "http://pi-2:9080"},
		{"http://pi-2:8081", "", "", "http://pi-2:8080"}, // an earlier version
		{"http://pi-2:8081", "", "javascript:alert(1)", "http://pi-2:8080"},
		{"http://pi-2:8081", "http://pi-2:80", "http://localhost:9080", "http://pi-2:80"},
	} {
		target, err := f.New(c.server, "t", c.named)
		require.NoError(t, err)
		require.Equal(t, c.want, target.ServedAt(c.said).String(), c.server)
	}
}
