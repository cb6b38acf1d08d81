package agent

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/testdb"
)

// onPorts gives a node ports of its own on loopback.
func onPorts(t *testing.T) func(*Options) {
	t.Helper()
	free := func() int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}
	cluster, gossip := free(), free()
	return func(o *Options) { o.ClusterBind, o.ClusterPort, o.GossipPort = "127.0.0.1", cluster, gossip }
}

var boss = picloud.Actor{User: FirstUser, Admin: true}

// invites makes the token of an invitation, and the address to show it at.
func (ta *testAgent) invites(uses int) (token, address string) {
	ta.t.Helper()
	_, token, address, err := ta.Invite(ta.t.Context(), boss, picloud.Invitation{Role: picloud.RoleManager, Uses: uses}, time.Hour)
	require.NoError(ta.t, err)
	return token, address
}

// joined is a node that the present one has invited.
func (ta *testAgent) joined(name string) *testAgent {
	ta.t.Helper()
	dir, opts := ta.member(name)
	b := startAgent(ta.t, dir, "", opts...)
	select {
	case <-b.Ready():
	case <-time.After(30 * time.Second):
		ta.t.Fatalf("%s is not ready: %+v", name, b.Status().Database)
	}
	require.Eventually(ta.t, func() bool { return b.database.closed() == nil }, 30*time.Second, time.Millisecond)
	return b
}

// member makes a node that was not started yet a member.
func (ta *testAgent) member(name string) (dir string, opts []func(*Options)) {
	ta.t.Helper()
	token, address := ta.invites(1)
	o := Options{DataDir: testdb.Dir(ta.t), Join: address, JoinToken: token}
	opts = []func(*Options){named(name), onPorts(ta.t)}
	for _, change := range opts {
		change(&o)
	}
	_, err := ta.joins(o)
	require.NoError(ta.t, err)
	return o.DataDir, opts
}

// joins makes a node a member.
func (ta *testAgent) joins(o Options) (Joined, error) {
	ta.t.Helper()
	lock, err := datadir.Acquire(o.DataDir)
	require.NoError(ta.t, err)
	defer lock.Release()
	ctx, cancel := context.WithTimeout(ta.t.Context(), 20*time.Second)
	defer cancel()
	return Join(ctx, o, func(why error) { ta.t.Logf("waits: %v", why) })
}

// TestANodeJoinsThroughTheClusterPort: a node without a database of its own becomes a
// member, uses the database of the other one, gets the cluster's key, and takes calls of
// the control API.
func TestANodeJoinsThroughTheClusterPort(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	a.deploy("hello", helloSource)
	b := a.joined("pi-2")
	_, body := b.call("hello")
	require.JSONEq(t, `{"hello":"world"}`, body)
	b.token = a.token
	status, body := b.api(http.MethodPut, "/apps/default/functions/f/code?create=true&deploy=true", `function handle(req) { return "made at pi-2" }`)
	require.Equal(t, http.StatusCreated, status, body)
	for _, n := range []*testAgent{a, b} {
		_, body = n.call("f")
		require.Equal(t, "made at pi-2", body)
	}
	resp, body := b.do(http.MethodGet, b.control.URL+"/api/v1/nodes", "", "Authorization", "Bearer "+a.token)
	require.Equal(t, "pi-1", resp.Header.Get("X-PiCloud-Leader"), body)
	require.Equal(t, []string{"pi-1"}, resp.Header.Values("X-PiCloud-Node"), "the node that answered, once")
	require.Contains(t, body, `"name":"pi-2"`)
	require.NoFileExists(t, filepath.Join(b.opts.DataDir, "postgres", "PG_VERSION"))
	require.NoFileExists(t, filepath.Join(b.opts.DataDir, "credentials"))

	status, body = a.api(http.MethodPut, "/apps/default/secrets/WORD", "swordfish")
	require.Equal(t, http.StatusNoContent, status, body)
	a.deploy("word", `function handle(req) { return secrets.get("WORD") }`)
	_, body = b.call("word")
	require.Equal(t, "swordfish", body)

	// The other one and the database go: the member serves on, and comes back by itself.
	a.Stop()
	_, body = b.call("f")
	require.Equal(t, "made at pi-2", body)
	require.Eventually(t, func() bool { s, _ := b.Seen(); return s.Trouble != "" && s.Alive == 1 }, 20*time.Second, 5*time.Millisecond)
	resp, body = b.do(http.MethodGet, b.control.URL+"/api/v1/apps", "")
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Contains(t, body, string(picloud.CodeNoManager))
	require.Contains(t, body, "pi-1, which runs the database, does not answer since ")
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	seen, nodes := b.Seen()
	require.Equal(t, "pi-2", seen.SeenBy)
	require.Equal(t, "pi-1", seen.Database)
	require.Empty(t, seen.Manager)
	require.Len(t, nodes, 2)
	require.True(t, nodes[1].Away)
	resp, body = b.do(http.MethodGet, b.control.URL+"/api/v1/nodes", "")
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode, "what it knows itself is for those with a token: %s", body)
	_, err := b.Recover(t.Context(), Recovery{})
	require.ErrorContains(t, err, "no use without the database: pi-1, which runs the database")
}

// TestJoinIsRefused: each refusal says what is wrong, and leaves nothing behind.
func TestJoinIsRefused(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t), onPorts(t)).ready()
	token, address := a.invites(1)
	other := startAgent(t, testdb.Dir(t), testdb.DSN(t), onPorts(t)).ready()
	foreign, _ := other.invites(1)
	try := func(change func(*Options)) error {
		o := Options{DataDir: testdb.Dir(t), NodeName: "pi-2", Join: address, JoinToken: token}
		onPorts(t)(&o)
		change(&o)
		_, err := a.joins(o)
		if err != nil {
			require.NoFileExists(t, filepath.Join(o.DataDir, "cluster", "node.crt"))
		}
		return err
	}
	mistyped := "A"
	if token[20] == 'A' {
		mistyped = "B"
	}
	for name, c := range map[string]struct {
		change func(*Options)
		says   string
	}{
		"no token":          {func(o *Options) { o.JoinToken = "" }, "it is empty"},
		"a cut token":       {func(o *Options) { o.JoinToken = token[:40] }, "cut off"},
		"a mistyped token":  {func(o *Options) { o.JoinToken = token[:20] + mistyped + token[21:] }, "mistyped"},
		"another cluster's": {func(o *Options) { o.JoinToken = foreign }, "not of the cluster that the token is of"},
		"a taken name":      {func(o *Options) { o.NodeName = "pi-1" }, "belongs to another node"},
		"a bad name":        {func(o *Options) { o.NodeName = "No Name" }, "No Name"},
	} {
		t.Run(name, func(t *testing.T) {
			err := try(c.change)
			require.Error(t, err)
			require.Contains(t, err.Error(), c.says)
			require.NotContains(t, err.Error(), token[40:])
		})
	}
	// A node with a cluster of its own says what it holds.
	other.deploy("mine", helloSource)
	other.Stop()
	o := other.opts
	o.Join, o.JoinToken, o.Lock = address, token, nil
	_, err := a.joins(o)
	require.NoError(t, err, "a member ignores --join")
	alone := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	alone.deploy("mine", helloSource)
	alone.Stop()
	o = alone.opts
	o.Join, o.JoinToken, o.Lock = address, token, nil
	_, err = a.joins(o)
	testdb.RequireCode(t, picloud.CodeConflict, err)
	require.ErrorContains(t, err, "1 function in 1 app")

	require.NoError(t, try(func(*Options) {}), "the token is as good as new")
	err = try(func(o *Options) { o.NodeName = "pi-3" })
	testdb.RequireCode(t, picloud.CodeInvitation, err)
	require.ErrorContains(t, err, "used up")
}

// TestAnInvitationWhilePortsAreTaken: an invitation is made only when somebody listens to the
// nodes that come.
func TestAnInvitationWhilePortsAreTaken(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	taken, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(a.opts.ClusterPort)))
	require.NoError(t, err)
	for range 2 {
		_, _, _, err = a.Invite(t.Context(), boss, picloud.Invitation{Role: picloud.RoleManager, Uses: 1}, time.Hour)
		require.ErrorContains(t, err, "listen on cluster port")
	}
	require.NoError(t, taken.Close())
	a.joined("pi-2")
}

// TestTheAnswerOfAJoinFits: whatever the members call themselves and however many there are.
func TestTheAnswerOfAJoinFits(t *testing.T) {
	var members []join.Member
	for i := range 1000 {
		role := picloud.RoleServing
		if i%100 == 99 {
			role = picloud.RoleManager
		}
		long := strings.Repeat("a", 253) + ":65535"
		members = append(members, join.Member{Node: newUUID(), Name: strings.Repeat("n", 63), Role: role, Address: long, Gossip: long})
	}
	told := foremost(members)
	require.Equal(t, picloud.RoleManager, told[9].Role)
	text, err := json.Marshal(told)
	require.NoError(t, err)
	require.Less(t, len(text), 48<<10, "a message of the join protocol has 64 KiB")
	require.Len(t, foremost(members[:2]), 2)
}

// TestANodeWaitsForTheMemberThatItJoins: as long as nobody answers, at none of the addresses of
// a name, and then it joins.
func TestANodeWaitsForTheMemberThatItJoins(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	token, address := a.invites(1)
	late, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, number, err := net.SplitHostPort(late.Addr().String())
	require.NoError(t, err)
	require.NoError(t, late.Close())
	o := Options{DataDir: testdb.Dir(t), Join: "localhost:" + number, JoinToken: token}
	named("pi-2")(&o)
	onPorts(t)(&o)
	lock, err := datadir.Acquire(o.DataDir)
	require.NoError(t, err)
	defer lock.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var passing sync.WaitGroup
	said := make(chan error, 1)
	passing.Go(func() { // the member comes up when the node has said that it waits
		<-said
		l, err := net.Listen("tcp", late.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		from, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer from.Close()
		to, err := net.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		defer to.Close()
		passing.Go(func() { _, _ = io.Copy(to, from) })
		_, _ = io.Copy(from, to)
	})
	joined, err := Join(ctx, o, func(why error) {
		select {
		case said <- why:
		default:
		}
	})
	require.NoError(t, err)
	require.NotEmpty(t, joined.Cluster)
	passing.Wait()
}
