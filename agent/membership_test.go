package agent

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/fleet"
	"github.com/picloud/picloud/internal/testdb"
)

// served is a node that serves functions only, and has joined the present one.
func (ta *testAgent) served(name string, more ...func(*Options)) *testAgent {
	ta.t.Helper()
	_, token, address, err := ta.Invite(ta.t.Context(), boss, picloud.Invitation{Role: picloud.RoleServing, Uses: 1}, time.Hour)
	require.NoError(ta.t, err)
	o := Options{DataDir: testdb.Dir(ta.t), Join: address, JoinToken: token}
	opts := append([]func(*Options){named(name), onPorts(ta.t)}, more...)
	for _, change := range opts {
		change(&o)
	}
	_, err = ta.joins(o)
	require.NoError(ta.t, err)
	return startAgent(ta.t, o.DataDir, "", opts...).reached()
}

// reached waits until a node has its database.
func (ta *testAgent) reached() *testAgent {
	ta.t.Helper()
	require.Eventually(ta.t, func() bool { return ta.database.closed() == nil && ta.Unready() == nil }, 30*time.Second, 5*time.Millisecond)
	return ta
}

// sessions counts the sessions of a node's role.
func (ta *testAgent) sessions(node *testAgent) (n int) {
	ta.t.Helper()
	require.NoError(ta.t, ta.database.API().QueryRow(ta.t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE usename = $1`, fleet.RoleName(node.identity.ID)).Scan(&n))
	return n
}

// TestANodeThatServesUsesItsOwnRole: with the database on another node's board and with a DSN.
// It serves, and lets others in by asking the manager.
func TestANodeThatServesUsesItsOwnRole(t *testing.T) {
	for name, dsn := range map[string]string{"managed": "", "dsn": testdb.DSN(t)} {
		t.Run(name, func(t *testing.T) {
			a := startAgent(t, testdb.Dir(t), dsn, onPorts(t)).ready()
			a.deploy("count", `function handle(req) { return {v: kv.incr("n", 1)} }`)
			b := a.served("pi-2")
			require.True(t, b.database.limited)
			_, body := b.call("count")
			require.JSONEq(t, `{"v":1}`, body)
			require.Positive(t, a.sessions(b))
			if dsn != "" {
				require.NotEqual(t, dsn, b.cluster.State().Database.DSN)
			}
			b.token = a.token
			b.deploy("hello", helloSource)
			_, body = b.call("hello")
			require.JSONEq(t, `{"hello":"world"}`, body)
			findings := Doctor(t.Context(), b.opts)
			require.Contains(t, findings, Finding{Part: "database role", State: "ok", Detail: "this node has its own, " + fleet.RoleName(b.identity.ID)})
			require.NotContains(t, fmt.Sprint(findings), "does not answer")
			require.True(t, slices.ContainsFunc(findings, func(f Finding) bool {
				where := "that of " + a.opts.NodeName
				if dsn != "" {
					where = "PostgreSQL of the cluster answers"
				}
				return f.Part == "database" && strings.HasPrefix(f.Detail, where)
			}), findings)
			_, _, err := b.authority(t.Context())
			require.Error(t, err, "it cannot read the key of the CA")

			require.ErrorContains(t, a.ask(t.Context(), b.identity.ID, http.MethodGet, pathRing, nil, nil), "serves functions only", "it is not asked for anything")

			_, token, _, err := a.Invite(t.Context(), boss, picloud.Invitation{Role: picloud.RoleServing, Uses: 1}, time.Hour)
			require.NoError(t, err)
			o := Options{DataDir: testdb.Dir(t), NodeName: "pi-3", Join: b.cluster.State().Address, JoinToken: token}
			onPorts(t)(&o)
			_, err = a.joins(o)
			require.NoError(t, err, "through a node that cannot sign")
		})
	}
}

// TestWithoutTheRightToMakeRolesNodesShareOne: the new node works, and the doctor warns.
func TestWithoutTheRightToMakeRolesNodesShareOne(t *testing.T) {
	dsn := testdb.DSN(t)
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	owner := "owner_" + rand.Text()[:12]
	_, err = testdb.Connect(t, dsn).Exec(t.Context(), `CREATE ROLE "`+owner+`" LOGIN; ALTER SCHEMA `+u.Query().Get("search_path")+` OWNER TO "`+owner+`"`)
	require.NoError(t, err)
	dsn, err = postgres.DSNOf(dsn, owner, "swordfish")
	require.NoError(t, err)
	a := startAgent(t, testdb.Dir(t), dsn, onPorts(t)).ready()
	a.deploy("hello", helloSource)
	b := a.served("pi-2")
	require.False(t, b.database.limited)
	require.Equal(t, dsn, b.cluster.State().Database.DSN)
	_, body := b.call("hello")
	require.JSONEq(t, `{"hello":"world"}`, body)
	for _, n := range []*testAgent{a, b} {
		require.True(t, slices.ContainsFunc(Doctor(t.Context(), n.opts), func(f Finding) bool {
			return f.Part == "database role" && f.State == "warn" && strings.Contains(f.Remedy, "CREATEROLE")
		}))
	}
}

// TestANodeIsRemoved: one that is alive loses everything at once: its sessions, the other
// nodes, the keys of the gossip. It says so, and goes on serving.
func TestANodeIsRemoved(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	a.deploy("hello", helloSource)
	b, c := a.served("pi-2"), a.joined("pi-3")
	b.token = a.token
	status, body := a.api(http.MethodDelete, "/nodes/pi-2", "")
	require.Equal(t, http.StatusConflict, status, body)
	require.Contains(t, body, "--force")
	status, body = a.api(http.MethodDelete, "/nodes/pi-1?force=true", "")
	require.Equal(t, http.StatusConflict, status, "the manager does not remove itself: %s", body)
	ring := a.cluster.Ring()
	var open []net.Conn
	for _, n := range []*testAgent{a, c} {
		conn, err := b.cluster.Dial(t.Context(), n.identity.ID, port.RPC)
		require.NoError(t, err)
		defer conn.Close()
		open = append(open, conn)
	}
	status, body = a.api(http.MethodDelete, "/nodes/pi-2?force=true", "")
	require.Equal(t, http.StatusNoContent, status, body)
	for _, conn := range open {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		_, err := conn.Read(make([]byte, 1))
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "what was open is closed")
	}

	require.Eventually(t, func() bool { return a.sessions(b) == 0 }, 10*time.Second, 10*time.Millisecond)
	for _, n := range []*testAgent{a, c} {
		require.Eventually(t, func() bool {
			_, err := b.cluster.Dial(t.Context(), n.identity.ID, port.RPC)
			return err != nil
		}, 10*time.Second, 10*time.Millisecond)
	}
	require.Eventually(t, b.cluster.Removed, 10*time.Second, 10*time.Millisecond)
	require.ErrorContains(t, b.Status().Database.Err, "was removed")
	status, body = b.api(http.MethodGet, "/nodes", "")
	require.Equal(t, http.StatusForbidden, status, body)
	require.Contains(t, body, "picloud node reset")
	_, body = b.call("hello")
	require.JSONEq(t, `{"hello":"world"}`, body, "it serves what it has")

	for _, n := range []*testAgent{a, c} {
		require.Eventually(t, func() bool { return n.cluster.Ring().Rev == ring.Rev+3 }, 30*time.Second, 10*time.Millisecond)
		require.Len(t, n.cluster.Ring().Keys, 1)
		require.NotEqual(t, ring.Keys, n.cluster.Ring().Keys)
	}
	require.Equal(t, a.cluster.Ring().Keys, c.cluster.Ring().Keys)
	require.Equal(t, ring.Keys, b.cluster.Ring().Keys, "the removed node does not get the new key")

	// Its data folder is of no further use.
	b.Stop()
	again := startAgent(t, b.opts.DataDir, "", named("pi-2"), onPorts(t))
	require.Eventually(t, again.cluster.Removed, 10*time.Second, 10*time.Millisecond)
}

// TestARemovalThatEndedHalfway: a manager that ended between the removal of a node and taking
// the database from it does the rest when it hears of it again.
func TestARemovalThatEndedHalfway(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t), onPorts(t)).ready()
	b := a.served("pi-2")
	require.NotZero(t, a.sessions(b))
	require.NoError(t, a.database.Nodes().Remove(t.Context(), boss, "pi-2", true)) // no more than the first step
	require.Eventually(t, func() (out bool) {
		require.NoError(t, a.database.API().QueryRow(t.Context(), `SELECT NOT rolcanlogin FROM pg_roles WHERE rolname = $1`, fleet.RoleName(b.identity.ID)).Scan(&out))
		return out && a.sessions(b) == 0
	}, 20*time.Second, 10*time.Millisecond)
}

// TestANodeThatWasOffGetsTheKeys: a node that slept while the keys of the gossip were changed
// gets them from another node before it gossips.
func TestANodeThatWasOffGetsTheKeys(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t), onPorts(t)).ready()
	a.deploy("hello", helloSource)
	dir, opts := a.member("pi-2")
	b := startAgent(t, dir, "", opts...).reached()
	gone := a.served("pi-3")
	b.Stop()
	gone.Stop()
	ring := a.cluster.Ring()
	status, body := a.api(http.MethodDelete, "/nodes/pi-3", "")
	require.Equal(t, http.StatusNoContent, status, body)
	require.Eventually(t, func() bool { return a.cluster.Ring().Rev == ring.Rev+3 }, 30*time.Second, 10*time.Millisecond)

	b = startAgent(t, dir, "", opts...).reached()
	require.Eventually(t, func() bool { return b.cluster.Ring().Rev == ring.Rev+3 }, 10*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		for _, m := range a.cluster.Members() {
			if m.Node == b.identity.ID && m.Alive && m.Meta.KeyRev == ring.Rev+3 {
				return true
			}
		}
		return false
	}, 20*time.Second, 10*time.Millisecond, "it is heard in the gossip")
}

// TestADrainedNodeStaysSo: balancers turn away, calls are served, and a restart without the
// database changes nothing.
func TestADrainedNodeStaysSo(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t), onPorts(t)).ready()
	a.deploy("hello", helloSource)
	dir, opts := a.member("pi-2")
	b := startAgent(t, dir, "", opts...).reached()
	status, body := a.api(http.MethodPost, "/nodes/pi-2/drain", "")
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, `"draining":true`)
	require.NoError(t, a.Unready())
	resp, body := b.do(http.MethodGet, b.control.URL+"/readyz", "")
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Contains(t, body, "an admin took the node out of service")
	_, body = b.call("hello")
	require.JSONEq(t, `{"hello":"world"}`, body)
	b.Stop()
	b = startAgent(t, dir, "", opts...)
	require.ErrorIs(t, b.Unready(), picloud.ErrUnavailable)
	_, body = b.call("hello")
	require.JSONEq(t, `{"hello":"world"}`, body)
	require.Eventually(t, func() bool { return b.database.closed() == nil }, 30*time.Second, 5*time.Millisecond)
	status, body = a.api(http.MethodPost, "/nodes/pi-2/resume", "")
	require.Equal(t, http.StatusOK, status, body)
	require.NotContains(t, body, "draining")
	require.NoError(t, b.Unready())
	status, _ = a.api(http.MethodPost, "/nodes/pi-9/drain", "")
	require.Equal(t, http.StatusNotFound, status)
}

// at is a clock that is ahead of the machine's.
func at(ahead *atomic.Int64) func(*Options) {
	return func(o *Options) {
		o.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}
}

const day = 24 * time.Hour

// TestCertificatesAreRenewed: after two thirds of their life, by the manager's own hand and
// with the old one as proof. One that ran out while the node was off says so, and a new
// invitation brings the same node back.
func TestCertificatesAreRenewed(t *testing.T) {
	var ahead atomic.Int64
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t), onPorts(t), at(&ahead)).ready()
	a.deploy("hello", helloSource)
	b := a.served("pi-2", at(&ahead))
	_, old := b.cluster.Validity()
	ahead.Store(int64(125 * day))
	for _, n := range []*testAgent{b, a} {
		n.membership.wake(false)
		require.Eventually(t, func() bool {
			_, expires := n.cluster.Validity()
			return expires.After(old.Add(100 * day))
		}, 20*time.Second, 10*time.Millisecond)
	}
	b.token = a.token
	status, body := b.api(http.MethodGet, "/nodes", "")
	require.Equal(t, http.StatusOK, status, body)

	b.Stop()
	ahead.Store(int64(250 * day))
	a.membership.wake(false)
	require.Eventually(t, func() bool {
		_, expires := a.cluster.Validity()
		return expires.After(old.Add(220 * day))
	}, 20*time.Second, 10*time.Millisecond)
	ahead.Store(int64(310 * day))
	b = startAgent(t, b.opts.DataDir, "", named("pi-2"), onPorts(t), at(&ahead))
	require.True(t, b.cluster.Expired())
	findings := Doctor(t.Context(), b.opts)
	require.True(t, slices.ContainsFunc(findings, func(f Finding) bool { return f.State == "fail" && f.Part == "place in the cluster" }), findings)
	require.ErrorContains(t, b.Status().Database.Err, "certificate was valid until")
	_, body = b.call("hello")
	require.JSONEq(t, `{"hello":"world"}`, body)
	b.Stop()

	_, token, address, err := a.Invite(t.Context(), boss, picloud.Invitation{Role: picloud.RoleServing, Uses: 1}, time.Hour)
	require.NoError(t, err)
	o := b.opts
	o.Join, o.JoinToken, o.Lock = address, token, nil
	joined, err := a.joins(o)
	require.NoError(t, err)
	require.False(t, joined.Already)
	id := b.identity.ID
	b = startAgent(t, o.DataDir, "", named("pi-2"), onPorts(t), at(&ahead)).reached()
	require.Equal(t, id, b.identity.ID)
}
