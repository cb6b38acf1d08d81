package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// picloud runs a command in the node's folder and environment.
func (n *node) picloud(args ...string) (stdout, stderr string, err error) {
	var out, errs strings.Builder
	cmd := exec.Command(filepath.Join(n.binaries, "picloud"), args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = n.dir, n.env, &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// TestTheMachinesOwnerIsNeverLockedOut: whoever can open the node's socket makes a token
// for an admin, though every token is lost.
func TestTheMachinesOwnerIsNeverLockedOut(t *testing.T) {
	n := newNode(t)
	credentials := filepath.Join(n.data, "credentials")

	_, stderr, err := n.picloud("user", "token", "admin", "--local")
	require.Error(t, err)
	require.Contains(t, stderr, n.data+": no node runs there")
	require.Contains(t, stderr, "start the node with: picloud run")

	n.start().awaitDatabase()
	lost := n.token()
	require.NoError(t, os.Remove(credentials))
	_, stderr, err = n.picloud("whoami")
	require.Error(t, err)
	require.Contains(t, stderr, "picloud user token admin --local")

	token, stderr, err := n.picloud("user", "token", "admin", "--local")
	require.NoError(t, err, stderr)
	require.True(t, strings.HasPrefix(token, "pct_"), token)
	require.NotEqual(t, lost, strings.TrimSpace(token))
	require.Contains(t, stderr, "saved in "+credentials)
	info, err := os.Stat(credentials)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	who, stderr, err := n.picloud("whoami")
	require.NoError(t, err, stderr)
	require.Contains(t, who, "cluster admin")
	require.Contains(t, n.output.String(), "API token replaced through the socket of this node")
	require.NotContains(t, n.output.String(), strings.TrimSpace(token))

	// The one token that is in use, replaced by the command that uses it.
	_, stderr, err = n.picloud("user", "token", "admin")
	require.NoError(t, err, stderr)
	_, stderr, err = n.picloud("whoami")
	require.NoError(t, err, stderr)

	_, stderr, err = n.picloud("user", "token", "nobody", "--local")
	require.Error(t, err)
	require.Contains(t, stderr, "there is no such user")
	require.Contains(t, stderr, "the cluster admins are: admin")

	// A user's token goes to nobody's credentials.
	_, stderr, err = n.picloud("user", "add", "bob", "--save", "bob.token")
	require.NoError(t, err, stderr)
	_, stderr, err = n.picloud("user", "token", "bob", "--local", "--save", "bob.token")
	require.NoError(t, err, stderr)
	require.NotContains(t, stderr, "saved in")
	who, stderr, err = n.picloud("whoami")
	require.NoError(t, err, stderr)
	require.Contains(t, who, "admin")

	// Credentials of somebody who is gone are of no use, and are replaced.
	for _, args := range [][]string{
		{"user", "add", "eve", "--admin", "--save", "eve.token"},
		{"user", "rm", "admin", "--yes", "--token-file", "eve.token"},
		{"user", "token", "eve", "--local"},
	} {
		_, stderr, err = n.picloud(args...)
		require.NoError(t, err, stderr)
	}
	who, stderr, err = n.picloud("whoami")
	require.NoError(t, err, stderr)
	require.Contains(t, who, "eve")
}
