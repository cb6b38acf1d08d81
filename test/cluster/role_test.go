package cluster

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/internal/postgres/fleet"
)

// TestWrongRole lets a node that serves functions only try what managers do, with its real
// certificate and its real role in the database: it is refused, and no token makes it one
// that votes.
func TestWrongRole(t *testing.T) {
	t.Parallel()
	l := newFlatLab(t)
	one := l.add().found()
	two := l.join(one.invite())
	three := l.join(one.invite("--role", "node"))
	l.awaitLive(healing)

	ask := func(n *node, proto string) (net.Conn, error) {
		id, err := identity.Load(filepath.Join(n.data, "cluster"))
		require.NoError(t, err)
		return port.Dialer{Identity: id}.Dial(t.Context(), net.JoinHostPort(one.address, strconv.Itoa(one.ports.cluster)), proto, "")
	}
	for _, n := range []*node{two, three} {
		for _, proto := range []string{port.Raft, port.RPC, port.Database} {
			conn, err := ask(n, proto)
			if n == three && proto == port.Raft {
				require.ErrorIs(t, err, port.ErrLetIn, "a node that serves only takes no part in elections")
				continue
			}
			require.NoError(t, err, "%s %s", n.name, proto)
			conn.Close()
		}
	}

	t.Log("what it may ask other nodes makes it no manager")
	conn, err := ask(three, port.RPC)
	require.NoError(t, err)
	defer conn.Close()
	id, err := identity.Load(filepath.Join(three.data, "cluster"))
	require.NoError(t, err)
	question, err := json.Marshal(map[string]any{"csr": id.CSR(), "role": "manager"})
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://one/node/v1/renew", bytes.NewReader(question))
	require.NoError(t, err)
	require.NoError(t, req.Write(conn))
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	var renewed struct{ Certificate []byte }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&renewed))
	block, _ := pem.Decode(renewed.Certificate)
	require.NotNil(t, block)
	leaf, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	peer, err := identity.PeerOf(leaf)
	require.NoError(t, err)
	require.Equal(t, identity.Node, peer.Role)
	require.Equal(t, "pi-3", peer.Name)

	t.Log("its role in the database does not touch the leadership")
	asRole := func(n *node, sql string) (string, error) {
		id, err := identity.Load(filepath.Join(n.data, "cluster"))
		require.NoError(t, err)
		return psql(filepath.Join(one.data, "postgres-run"), fleet.RoleName(id.Peer().Node), sql)
	}
	for _, sql := range []string{
		`UPDATE leadership SET epoch = epoch + 1`, `SELECT * FROM leadership`, `UPDATE node SET role = 'manager'`,
		`UPDATE catalog_head SET rev = rev + 1`, `SELECT ca_key FROM cluster`, `SELECT * FROM invitation`, `SELECT token_hash FROM usr`,
	} {
		said, err := asRole(three, sql)
		require.Error(t, err, sql)
		require.Contains(t, said, "permission denied", sql)
	}
	said, err := asRole(two, `SELECT count(*) FROM leadership`)
	require.NoError(t, err, said)

	one.await("the second manager to stand by", 2*time.Minute, func() bool { return len(one.cluster().Standbys) == 1 })
	c := three.cluster()
	require.Equal(t, []string{"pi-1"}, c.Voters)
	require.Equal(t, []string{"pi-2"}, c.Standbys)
	require.Equal(t, "node", one.sql(`SELECT role FROM node WHERE name = 'pi-3'`))
	require.NoDirExists(t, filepath.Join(three.data, "cluster", "raft"))
}
