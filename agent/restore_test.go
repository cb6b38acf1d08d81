package agent

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/dump"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/cluster/gossip"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/testdb"
)

// again starts a node that was stopped.
func (ta *testAgent) again(change ...func(*Options)) *testAgent {
	ta.t.Helper()
	opts := ta.opts
	same := func(o *Options) { *o = opts }
	b := startAgent(ta.t, opts.DataDir, "", append([]func(*Options){same}, change...)...)
	b.token = ta.token
	return b
}

// dumped makes a node give a dump of its database to others.
func (ta *testAgent) dumped(peers int) dump.Manifest {
	ta.t.Helper()
	require.Eventually(ta.t, func() bool { return len(dumpPeers{ta.Agent}.Nodes()) == peers }, 20*time.Second, 10*time.Millisecond)
	m, err := ta.dumps.keeper.Now(ta.t.Context())
	require.NoError(ta.t, err)
	return m
}

// restores brings the database up on a node that runs, from what a node keeps.
func (ta *testAgent) restores(from string) *testAgent {
	ta.t.Helper()
	r, err := PlanRestore(ta.t.Context(), ta.opts, from, false)
	require.NoError(ta.t, err)
	require.NoError(ta.t, r.Prepare(ta.t.Context()))
	ta.Stop()
	lock, err := datadir.Acquire(ta.opts.DataDir)
	require.NoError(ta.t, err)
	require.NoError(ta.t, r.Take(ta.t.Context(), lock))
	lock.Release()
	require.NoError(ta.t, r.Close())
	require.NoDirExists(ta.t, r.restoreDir())
	return ta.again()
}

// TestTheDatabaseMovesToAnotherNode of two, one of which serves functions only: the board of
// the database dies, and the other node brings it up. When the dead one is back, it does no harm.
func TestTheDatabaseMovesToAnotherNode(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	a.deploy("count", `function handle(req) { return {v: kv.incr("n", 1), s: secrets.get("TOKEN")} }`)
	a.setSecret("default", "TOKEN", "s3cret")
	b := a.joined("pi-2")
	b.token = a.token
	c := a.served("pi-3")
	c.token = a.token
	_, body := b.call("count")
	require.JSONEq(t, `{"v":1,"s":"s3cret"}`, body)
	m := a.dumped(1)
	require.Len(t, dump.NewStore(dumpsDir(b.opts.DataDir)).List(), 1)
	require.NoDirExists(t, dumpsDir(c.opts.DataDir), "a node that serves only keeps none")
	a.deploy("late", helloSource)
	require.Eventually(t, func() bool { s, _ := c.call("late"); return s == http.StatusOK }, 10*time.Second, 10*time.Millisecond)

	s, err := SurveyDatabase(t.Context(), b.opts)
	require.NoError(t, err)
	require.True(t, s.Answers)
	require.Equal(t, "pi-1", s.Host)
	require.Greater(t, s.Revision, m.Revision)
	require.Positive(t, s.Size)
	require.Len(t, s.Dumps, 1)
	require.Equal(t, "pi-2", s.Dumps[0].Node)
	_, err = PlanRestore(t.Context(), b.opts, "pi-2", false)
	require.ErrorContains(t, err, "the database on pi-1 answers")
	_, err = PlanRestore(t.Context(), c.opts, "pi-2", false)
	require.ErrorContains(t, err, "serves functions only")

	a.Stop()
	s, err = SurveyDatabase(t.Context(), b.opts)
	require.NoError(t, err)
	require.False(t, s.Answers)
	require.Equal(t, []string{"pi-1"}, s.Silent)
	_, err = PlanRestore(t.Context(), b.opts, "pi-9", false)
	require.ErrorContains(t, err, "pi-9 keeps no dump")
	b = b.restores("pi-2").reached()
	require.Equal(t, b.identity.ID, b.cluster.State().Database.Host)
	require.Eventually(t, func() bool { return b.cluster.State().Database.Generation == 1 }, 30*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return b.manages() }, 30*time.Second, 10*time.Millisecond)

	// The other node follows, while it runs, and takes the whole catalog.
	require.Eventually(t, func() bool { return c.cluster.State().Database.Host == b.identity.ID }, 30*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { s, _ := c.call("late"); return s == http.StatusNotFound }, 30*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { _, body = c.call("count"); return strings.Contains(body, `"v":2`) }, 30*time.Second, 100*time.Millisecond, body)
	require.JSONEq(t, `{"v":2,"s":"s3cret"}`, body)
	b.deploy("after", helloSource)
	require.Eventually(t, func() bool { s, _ := c.call("after"); return s == http.StatusOK }, 20*time.Second, 10*time.Millisecond)

	// The dead board is back, with its data.
	a = a.again()
	require.Eventually(t, func() bool { return picloud.CodeOf(a.database.closed()) == picloud.CodeDatabaseElsewhere }, 20*time.Second, 10*time.Millisecond)
	status, answer := a.api(http.MethodPut, "/apps/default/functions/late/code?create=true&deploy=true", helloSource)
	require.Equal(t, http.StatusForbidden, status, answer)
	require.Contains(t, answer, string(picloud.CodeDatabaseElsewhere))
	require.False(t, a.manages())
	require.False(t, a.database.server.Started())
	s1, _ := a.call("late")
	require.Equal(t, http.StatusOK, s1, "it serves what it has")
	a.Stop()
	a = a.again() // it knows without asking anybody
	require.True(t, a.superseded())
	_, err = SurveyDatabase(t.Context(), a.opts)
	require.Equal(t, picloud.CodeDatabaseElsewhere, picloud.CodeOf(err), "what this node would say of the database is of no use")
	_, err = DumpDatabase(t.Context(), a.opts)
	require.Equal(t, picloud.CodeDatabaseElsewhere, picloud.CodeOf(err))
	require.Contains(t, Doctor(t.Context(), a.opts), finding("place in the cluster", "", elsewhere(a.cluster.State().Name)))
	require.DirExists(t, filepath.Join(a.opts.DataDir, "postgres"))
	b.deploy("after", helloSource)
	members, err := b.database.Cluster().Members(t.Context())
	require.NoError(t, err)
	for _, m := range members {
		require.Equal(t, m.ID == a.identity.ID, m.Removed, m.Name)
	}
}

// TestNodesThatWereOffFollow: one that knows the dead board only, whatever its role; and the dump
// did not know the one that joined later.
func TestNodesThatWereOffFollow(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	b := a.joined("pi-2")
	c := a.served("pi-3")
	a.deploy("hello", helloSource)
	a.dumped(1)
	late := a.joined("pi-4")
	c.Stop()
	a.Stop()
	b = b.restores("pi-2").reached()
	b.token = a.token
	c = c.again()
	for _, n := range []*testAgent{c, late} {
		require.Eventually(t, func() bool { return n.cluster.State().Database.Host == b.identity.ID }, 40*time.Second, 10*time.Millisecond, n.opts.NodeName)
	}
	require.Eventually(t, func() bool { return b.manages() }, 30*time.Second, 10*time.Millisecond)
	c.reached()
	b.deploy("after", helloSource)
	for _, n := range []*testAgent{c, late} {
		require.Eventually(t, func() bool { s, _ := n.call("after"); return s == http.StatusOK }, 20*time.Second, 10*time.Millisecond, n.opts.NodeName)
	}
	nodes, err := b.database.Nodes().List(t.Context())
	require.NoError(t, err)
	require.Len(t, nodes, 3)
}

// TestALieInTheGossipMovesNobody: who is named as the host has to say so itself, and to show
// that it may manage.
func TestALieInTheGossipMovesNobody(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	b := a.joined("pi-2")
	c := a.served("pi-3")
	a.deploy("hello", helloSource)
	// pi-3 says that it is the host, of a later generation, in the gossip and when it is asked.
	c.Stop()
	o := c.opts
	liar, err := cluster.Open(cluster.Options{
		Dir: clusterDir(o.DataDir), Node: c.identity.ID, Name: o.NodeName, Bind: o.ClusterBind, Port: o.ClusterPort, GossipPort: o.GossipPort,
		Say: func() gossip.Meta { return gossip.Meta{Hosts: true, Database: true} },
	})
	require.NoError(t, err)
	_, err = liar.Follow(movedTo(c.identity.ID, 7))
	require.NoError(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, hostView{Moved: movedTo(c.identity.ID, 7), Node: c.identity.ID, Answers: true}, nil)
	})}
	var served sync.WaitGroup
	require.NoError(t, liar.Start(cluster.Services{RPC: func(l net.Listener) { served.Go(func() { _ = server.Serve(l) }) }}))
	defer served.Wait()
	defer server.Close()
	defer liar.Stop()
	require.Eventually(t, func() bool {
		for _, m := range b.cluster.Members() {
			if m.Node == c.identity.ID && m.Meta.Generation == 7 {
				return true
			}
		}
		return false
	}, 20*time.Second, 10*time.Millisecond)
	b.followDatabase(t.Context())
	a.followDatabase(t.Context())
	require.Equal(t, a.identity.ID, b.cluster.State().Database.Host)
	require.False(t, a.superseded())
	require.False(t, b.cluster.Removed())
}

// TestADumpIsTakenFromTheHostOnly, and given to nodes that may manage.
func TestADumpIsTakenFromTheHostOnly(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	b := a.joined("pi-2")
	c := a.served("pi-3")
	m := a.dumped(1)
	file, err := dump.NewStore(dumpsDir(b.opts.DataDir)).Open(m)
	require.NoError(t, err)
	defer file.Close()
	require.Equal(t, picloud.CodeForbidden, picloud.CodeOf(dumpPeers{b.Agent}.Send(t.Context(), a.identity.ID, m, file)), "pi-1 is the host")
	_, err = dumpPeers{c.Agent}.Kept(t.Context(), b.identity.ID)
	require.Equal(t, picloud.CodeForbidden, picloud.CodeOf(err))
	require.Equal(t, picloud.CodeForbidden, picloud.CodeOf(c.fetch(t.Context(), b.identity.ID, m, filepath.Join(t.TempDir(), "x"))))
	path := filepath.Join(t.TempDir(), "fetched")
	require.NoError(t, a.fetch(t.Context(), b.identity.ID, m, path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, m.Size, info.Size())
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	wrong := m
	wrong.SHA256 = strings.Repeat("0", 64)
	require.Equal(t, picloud.CodeNotFound, picloud.CodeOf(a.fetch(t.Context(), b.identity.ID, wrong, path)))

	for _, n := range []*testAgent{a, b} {
		got, err := DumpDatabase(t.Context(), n.opts)
		require.NoError(t, err, n.opts.NodeName)
		require.Equal(t, m.Revision, got.Revision)
	}
	alone := startAgent(t, testdb.Dir(t), "", onPorts(t), named("pi-9")).ready()
	_, err = DumpDatabase(t.Context(), alone.opts)
	require.ErrorContains(t, err, "this node is alone")
	s, err := SurveyDatabase(context.Background(), alone.opts)
	require.NoError(t, err)
	require.True(t, s.Answers)
	require.Empty(t, s.Cluster)
	require.Nil(t, alone.dumps.keeper, "a cluster of one dumps nothing")
}

// movedTo says that a node runs the database.
func movedTo(node string, generation int64) cluster.Moved {
	return cluster.Moved{Host: node, Generation: generation}
}

// TestARestoreOnTheNodeItself: its database is damaged, and another node keeps a dump. The old folder is put
// aside, and the node stays a member. What a command that was killed has left does not matter.
func TestARestoreOnTheNodeItself(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	b := a.joined("pi-2")
	a.deploy("hello", helloSource)
	a.dumped(1)
	a.deploy("late", helloSource)
	_, err := PlanRestore(t.Context(), a.opts, "pi-2", false)
	require.ErrorContains(t, err, "the database on pi-1 answers")
	a.Stop()
	require.NoError(t, os.MkdirAll(filepath.Join(a.opts.DataDir, "restore", "postgres", "base"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(a.opts.DataDir, "restore", "fetched.dump"), []byte("half"), 0o600))
	opts := a.opts
	r, err := PlanRestore(t.Context(), opts, "pi-2", false)
	require.NoError(t, err)
	require.NotEmpty(t, r.Aside)
	require.NoError(t, r.Prepare(t.Context()))
	_, err = os.Stat(r.Aside)
	require.Error(t, err, "nothing is touched before the end")
	other, err := PlanRestore(t.Context(), opts, "pi-2", false)
	require.NoError(t, err)
	require.Error(t, other.Prepare(t.Context()), "one restore at a time")
	lock, err := datadir.Acquire(opts.DataDir)
	require.NoError(t, err)
	require.NoError(t, r.Take(t.Context(), lock))
	lock.Release()
	require.NoError(t, r.Close())
	require.FileExists(t, filepath.Join(r.Aside, "PG_VERSION"))

	a = a.again().reached()
	require.Eventually(t, func() bool { return a.manages() }, 30*time.Second, 10*time.Millisecond)
	a.deploy("after", helloSource)
	for _, n := range []*testAgent{a, b} {
		require.Eventually(t, func() bool { s, _ := n.call("after"); return s == http.StatusOK }, 30*time.Second, 10*time.Millisecond)
		s, _ := n.call("late")
		require.Equal(t, http.StatusNotFound, s)
	}
	require.False(t, a.superseded())
	require.Eventually(t, func() bool { return b.cluster.State().Database.Generation == 1 }, 30*time.Second, 10*time.Millisecond)
}

// TestARestoreIsRefusedWhileOthersReachTheDatabase: the network between two nodes is cut, and
// nothing else.
func TestARestoreIsRefusedWhileOthersReachTheDatabase(t *testing.T) {
	r := &Restore{Survey: Survey{Generation: 1, hostID: "one"}, begun: time.Now().Add(-time.Minute), a: startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready().Agent}
	say := func(reaches bool, generation int64) hostView {
		return hostView{Moved: movedTo("one", generation), Node: "two", Reaches: reaches}
	}
	r.weigh([]hostView{say(true, 0), say(false, 1)})
	require.NoError(t, r.awaitSilence(t.Context()), "that of another generation")
	r.weigh([]hostView{say(true, 1)})
	require.ErrorContains(t, r.awaitSilence(t.Context()), "two says that it reaches the database")
	r.force = true
	require.NoError(t, r.awaitSilence(t.Context()))
}

// TestARestoreIsOfTheClusterAsItIs: what changed since the plan was made is not written over.
func TestARestoreIsOfTheClusterAsItIs(t *testing.T) {
	r := &Restore{Survey: Survey{Generation: 1, hostID: "one", removed: []string{"old"}}, a: startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready().Agent}
	require.NoError(t, r.unchanged(Survey{Generation: 1, removed: []string{"one", "old"}}))
	require.ErrorContains(t, r.unchanged(Survey{Generation: 1, removed: []string{"old", "stolen"}}), "node stolen was removed meanwhile")
	require.ErrorContains(t, r.unchanged(Survey{Generation: 1, Answers: true, Host: "pi-1"}), "pi-1 answers again")
	r.force = true
	require.NoError(t, r.unchanged(Survey{Generation: 1, Answers: true, Host: "pi-1"}))
	require.ErrorContains(t, r.unchanged(Survey{Generation: 2, Host: "pi-3"}), "brought up on pi-3 meanwhile")
}

// TestAHostThatWasOffWaits while somebody knows a later database, even if the first who answers was
// off as well.
func TestAHostThatWasOffWaits(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	b := a.joined("pi-2")
	c := a.joined("pi-3")
	require.Eventually(t, func() bool { return len(dumpPeers{a.Agent}.Nodes()) == 2 }, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, a.mayHost(t.Context()))
	_, err := c.cluster.Follow(movedTo(b.identity.ID, 1)) // it does not refuse pi-1
	require.NoError(t, err)
	err = a.mayHost(t.Context())
	require.Equal(t, picloud.CodeDatabaseDown, picloud.CodeOf(err), err)
	require.ErrorContains(t, err, "pi-3 knows the database on pi-2")
	require.False(t, a.superseded())
}

// TestARestoreThatWasCutShortElectsNobody: only the host elects alone, also if it was cut short behind
// that. The note is read once.
func TestARestoreThatWasCutShortElectsNobody(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	b := a.joined("pi-2")
	for _, n := range []*testAgent{b, a} {
		n.Stop()
		raft := filepath.Join(clusterDir(n.opts.DataDir), "raft")
		require.NoError(t, os.RemoveAll(raft))
		require.NoError(t, noteOnlyVoter(n.opts.DataDir, 7))
		require.NoError(t, n.onlyVoter())
		require.NoFileExists(t, onlyVoterPath(n.opts.DataDir))
		if n == b {
			require.NoDirExists(t, raft)
		} else {
			require.DirExists(t, raft)
		}
		require.NoError(t, n.onlyVoter())
	}
}

// TestALostDatabaseIsNotMadeAnew: an empty one in its place would become the cluster's.
func TestALostDatabaseIsNotMadeAnew(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	a.joined("pi-2")
	a.deploy("hello", helloSource)
	a.Stop()
	folder := filepath.Join(a.opts.DataDir, "postgres")
	require.NoError(t, os.Rename(folder, folder+".gone"))
	a = a.again()
	require.Eventually(t, func() bool {
		d := a.Status().Database
		return d != nil && d.Err != nil && strings.Contains(d.Err.Error(), "missing or empty")
	}, 20*time.Second, 10*time.Millisecond)
	require.NoDirExists(t, folder)
	_, body := a.call("hello")
	require.JSONEq(t, `{"hello":"world"}`, body)
}
