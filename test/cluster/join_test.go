package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/datadir"
)

// asks makes a node's data folder a member's, as `picloud run --join` does before it serves.
func (l *lab) asks(name, address, token string) error {
	dir := filepath.Join(l.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	lock, err := datadir.Acquire(dir)
	if err != nil {
		return err
	}
	defer lock.Release()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	_, err = agent.Join(ctx, agent.Options{DataDir: dir, NodeName: name, Join: address, JoinToken: token}, func(why error) { l.t.Logf("%s waits: %v", name, why) })
	return err
}

// TestTokens shows a member tokens that are spent, late, cut, foreign, or of many nodes at
// once: exactly as many get in as were invited, and each of the others hears why not.
func TestTokens(t *testing.T) {
	t.Parallel()
	l := newFlatLab(t)
	one := l.add().found()
	invitation := one.invite("--uses", "2")
	address, token := invitation[1], invitation[3]

	wrongPin := []byte(token)
	for i := 6; i < 16; i++ { // the pin is what follows the prefix
		wrongPin[i] = 'A' + (wrongPin[i]-'A'+1)%2
	}
	for name, c := range map[string]struct{ address, token, says string }{
		"cut off":      {address, token[:len(token)-7], "token"},
		"wrong pin":    {address, string(wrongPin), "token"},
		"no token":     {address, "swordfish", "token"},
		"a wrong host": {one.functions("")[len("http://"):], token, "no node of PiCloud answers there"},
	} {
		err := l.asks(strings.ReplaceAll(name, " ", "-"), c.address, c.token)
		require.Error(t, err, name)
		require.Contains(t, err.Error(), c.says, name)
		require.NotContains(t, err.Error(), token[len(token)-16:], name)
	}

	count := either(20, 100)
	errs := make([]error, count)
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() { errs[i] = l.asks(fmt.Sprintf("many-%d", i), address, token) })
	}
	all.Wait()
	joined := 0
	for _, err := range errs {
		if err == nil {
			joined++
		} else if !long() { // beyond 30 a minute the member puts an address off
			require.ErrorContains(t, err, "used up")
		}
	}
	require.Equal(t, 2, joined)

	late := one.invite()
	one.sql("UPDATE invitation SET expires_at = now()")
	err := l.asks("late", late[1], late[3])
	require.ErrorContains(t, err, "the invitation was valid until")
}

// sql changes the node's own database, as its administrator could.
func (n *node) sql(statement string) string {
	n.t.Helper()
	out, err := psql(filepath.Join(n.data, "postgres-run"), "picloud", statement)
	require.NoError(n.t, err, out)
	return out
}

// psql asks the database of a server by its socket, as one of its roles.
func psql(socket, role, statement string) (string, error) {
	cmd := exec.Command("psql", "-h", socket, "-U", role, "-d", "picloud", "-AtXc", statement)
	cmd.Env = append(os.Environ(), "PGOPTIONS=")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestStrangers: a node with a cluster of its own refuses to join until it is reset; noise
// on the ports harms nobody; a copied data folder is named.
func TestStrangers(t *testing.T) {
	t.Parallel()
	l := begin(t, 1)
	one := l.nodes[0]
	two := l.add().found()
	two.deploy("mine", "mine")
	two.stop()
	two.args = one.invite()
	two.launch()
	<-two.exited
	require.Contains(t, two.output.String(), "a cluster of its own already, with 1 function in 1 app and a database of its own")
	require.Contains(t, two.output.String(), "picloud node reset")
	two.cmd, two.token = nil, ""
	_, said, code := two.cli("node", "reset", "--yes")
	require.Zero(t, code, said)
	two.token = one.token
	two.start()
	two.await("its first screen", healing, func() bool { return strings.Contains(two.output.String(), `joined cluster "home"`) }) // it answers before that
	l.awaitLive(healing)
	l.awaitHeard(2, healing)

	one.noise()
	one.deploy("after", "the noise")
	_, body := two.call("after")
	require.Equal(t, "the noise", body)
	require.Equal(t, 2, one.heard())
	if !l.needsNamespaces() {
		return
	}

	three := l.add()
	require.NoError(t, exec.Command("cp", "-a", two.data, three.data).Run())
	three.env = append(three.env, "PICLOUD_NODE_NAME=pi-2")
	three.token = one.token
	three.launch()
	three.await("the copy to be named", 2*time.Minute, func() bool {
		return strings.Contains(three.output.String()+two.output.String(), "with a copy of this node's data folder")
	})
	three.stop()
	l.awaitLive(healing)
	status, body := two.call("after")
	require.Equal(t, http.StatusOK, status, body)
}

// noise sends what is no message to the ports for other nodes.
func (n *node) noise() {
	n.t.Helper()
	junk := make([]byte, 4096)
	for i := range either(30, 3000) {
		rand.Read(junk)
		for network, port := range map[string][]int{"tcp": {n.ports.cluster, n.ports.gossip}, "udp": {n.ports.gossip}} {
			for _, p := range port {
				conn, err := dial(n.t.Context(), n.space, network, net.JoinHostPort(n.address, strconv.Itoa(p)))
				if err != nil {
					continue // the node has closed the door for the moment
				}
				conn.Write(junk[:1+i*97%1400])
				conn.Close()
			}
		}
	}
}
