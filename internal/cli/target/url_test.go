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
