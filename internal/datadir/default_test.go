package datadir

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDefaultFolders(t *testing.T) {
	for _, c := range []struct{ xdg, home, want string }{
		{"/xdg", "/home/me", "/xdg/picloud"},
		{"relative", "/home/me", "/home/me/.local/share/picloud"},
		{"", "/home/me", "/home/me/.local/share/picloud"},
		{"", "", ""},
	} {
		env := map[string]string{"XDG_DATA_HOME": c.xdg, "HOME": c.home}
		require.Equal(t, c.want, User(func(name string) string { return env[name] }))
	}
	require.NotEmpty(t, Default(func(string) string { return "" }))
}
