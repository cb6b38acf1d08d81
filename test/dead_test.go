package test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// TestADeadNodeCostsOneDeploy kills one of two nodes: one deploy waits for it, the next
// ones name it at once, and it can be removed when it said that it stops.
func TestADeadNodeCostsOneDeploy(t *testing.T) {
	one := newNode(t).start()
	one.deploy("hello", hello)
	two := newNode(t)
	two.env = append(two.env, "PICLOUD_NODE_NAME=pi-2")
	two.start(one.invitation()...)
	one.deploy("hello", hello+"// both\n")
	require.NoError(t, two.cmd.Process.Kill())
	<-two.exited
	deploy := func(source string) (took time.Duration) {
		begun := time.Now()
		status, body := one.put("default", "hello", source)
		require.Equal(t, http.StatusAccepted, status, body)
		require.Contains(t, body, `"missing":["pi-2"]`)
		return time.Since(begun)
	}
	require.Greater(t, deploy(hello+"// first\n"), 4*time.Second)
	require.Less(t, deploy(hello+"// second\n"), 2*time.Second)
	_, said, code := one.cli("node", "rm", "pi-2", "--yes")
	require.Equal(t, 4, code, said)
	require.Contains(t, said, "it is alive")

	began := time.Now()
	two.start().awaitNode(one, began)
	one.deploy("hello", hello+"// both again\n")
	two.stop()
	require.Less(t, deploy(hello+"// third\n"), 2*time.Second, "it said that it stops")
	_, said, code = one.cli("node", "rm", "pi-2", "--yes")
	require.Zero(t, code, said)
	one.deploy("hello", hello+"// one\n")
	two.launch()
	two.await("the removed node to say so", 20*time.Second, func() bool { return strings.Contains(two.output.String(), "removed") })
}

// awaitNode waits until another node knows that this one is alive and has reported since a time:
// the gossip hears it before that.
func (n *node) awaitNode(other *node, since time.Time) {
	n.t.Helper()
	n.await("the node to be known", 20*time.Second, func() bool {
		var nodes []picloud.Node
		list, _, _ := other.cli("node", "ls", "-o", "json")
		return json.Unmarshal([]byte(list), &nodes) == nil && slices.ContainsFunc(nodes, func(n picloud.Node) bool {
			return n.Name == "pi-2" && n.SeenAt.After(since) && n.Alive(time.Now())
		})
	})
}
