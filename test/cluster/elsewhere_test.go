package cluster

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/testdb"
)

// commonDatabase is a PostgreSQL that is no node's. All nodes reach it by the network of the lab,
// so that each of them can be cut from it, and from the others, apart.
type commonDatabase struct {
	t      *testing.T
	dsn    string // of the administrator, and of this process
	socket string // of the server
	gate   net.Listener
	ask    func(sql string) [][]string // as the administrator; the answer as text
}

// gateAddress is where nodes in namespaces reach the database: an address of the bridge.
const gateAddress = "10.77.0.254"

// beginElsewhere makes a lab with a cluster of count nodes whose database is elsewhere.
func beginElsewhere(t *testing.T, count int) (*lab, *commonDatabase) {
	t.Helper()
	e := &commonDatabase{t: t, dsn: testdb.Server(t).DSN()}
	u, err := url.Parse(e.dsn)
	require.NoError(t, err)
	e.socket = fmt.Sprintf("%s/.s.PGSQL.%s", u.Query().Get("host"), u.Query().Get("port"))
	e.ask = e.session()
	t.Cleanup(e.close) // the nodes stop before
	l := newLab(t)
	address := e.listen(l)
	first := l.add()
	first.env = append(first.env, fmt.Sprintf("PICLOUD_DATABASE_URL=postgres://picloud@%s/picloud?sslmode=disable", address))
	l.fill(count)
	return l, e
}

// session opens a session of the administrator.
func (e *commonDatabase) session() (ask func(sql string) [][]string) {
	e.t.Helper()
	conn := testdb.Connect(e.t, e.dsn)
	var mu sync.Mutex
	return func(sql string) (out [][]string) {
		e.t.Helper()
		mu.Lock()
		defer mu.Unlock()
		rows, err := conn.Query(e.t.Context(), sql)
		require.NoError(e.t, err)
		defer rows.Close()
		for rows.Next() {
			values, err := rows.Values()
			require.NoError(e.t, err)
			var line []string
			for _, v := range values {
				line = append(line, fmt.Sprint(v))
			}
			out = append(out, line)
		}
		require.NoError(e.t, rows.Err(), sql)
		return out
	}
}

// listen opens the gate to the server and returns its address.
func (e *commonDatabase) listen(l *lab) string {
	space, address := "", "127.0.0.1:0"
	if l.spaces {
		space, address = l.space(0), gateAddress+":5432"
	}
	var err error
	e.gate, err = listen(space, address)
	require.NoError(e.t, err)
	go e.accept()
	return e.gate.Addr().String()
}

func (e *commonDatabase) accept() {
	for {
		outer, err := e.gate.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		inner, err := net.Dial("unix", e.socket)
		if err != nil {
			outer.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{outer, inner}, {inner, outer}} {
			go func() {
				io.Copy(pair[0], pair[1])
				pair[0].Close()
				pair[1].Close()
			}()
		}
	}
}

func (e *commonDatabase) close() {
	if e.gate != nil {
		e.gate.Close()
	}
}

// cut cuts the network between a node and the database, in both directions and without a
// word to either; the result heals it.
func (e *commonDatabase) cut(n *node) (heal func()) {
	e.t.Helper()
	return cut(e.t, way{n.space, gateAddress}, way{n.lab.space(0), n.address})
}

// record makes the database write down each change of the catalog with the node that made it
// and the node that held the leadership at that moment, and each change of the leadership.
// A node is known by the role of its session; the first one has none of its own.
func (e *commonDatabase) record() {
	e.t.Helper()
	for _, sql := range []string{
		`CREATE SCHEMA record`,
		`CREATE TABLE record.change (rev bigint, epoch bigint, holder uuid, node uuid, at timestamptz DEFAULT clock_timestamp())`,
		`CREATE TABLE record.leadership (number bigint GENERATED ALWAYS AS IDENTITY, epoch bigint, term bigint, node uuid, at timestamptz DEFAULT clock_timestamp())`,
		`CREATE FUNCTION record.note_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO record.change (rev, epoch, holder, node) SELECT NEW.rev, l.epoch, l.node_id,
				CASE WHEN session_user LIKE 'picloud_n_%' THEN substr(session_user, 11)::uuid ELSE (SELECT founder FROM public.cluster) END
			FROM public.leadership l;
			RETURN NULL;
		END $$`,
		`CREATE FUNCTION record.note_leadership() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO record.leadership (epoch, term, node) SELECT NEW.epoch, NEW.raft_term, NEW.node_id;
			RETURN NULL;
		END $$`,
		`CREATE TRIGGER record AFTER UPDATE OF rev ON public.catalog_head FOR EACH ROW EXECUTE FUNCTION record.note_change()`,
		`CREATE TRIGGER record AFTER UPDATE ON public.leadership FOR EACH ROW EXECUTE FUNCTION record.note_leadership()`,
	} {
		e.ask(sql)
	}
}

// requireOneWriter requires of all that was recorded that nobody wrote who was not the
// manager at that moment, that the revisions have no gap and no duplicate, and that epochs
// only grow: with the revisions and by themselves.
func (e *commonDatabase) requireOneWriter() {
	e.t.Helper()
	require.NotEmpty(e.t, e.ask(`SELECT rev FROM record.change LIMIT 1`))
	for what, sql := range map[string]string{
		"a node wrote that was not the manager": `SELECT rev, epoch, holder::text, node::text, at FROM record.change WHERE holder IS DISTINCT FROM node`,
		"the revisions are not one after the other": `SELECT * FROM (SELECT rev, lag(rev) OVER (ORDER BY rev) AS before FROM record.change) c
			WHERE rev <> before + 1`,
		"a change of an earlier epoch came after one of a later": `SELECT * FROM (SELECT rev, epoch, lag(epoch) OVER (ORDER BY rev) AS before FROM record.change) c
			WHERE epoch < before`,
		"an epoch fell, or has two holders": `SELECT * FROM (SELECT number, epoch, node::text AS node, lag(epoch) OVER w AS before, lag(node::text) OVER w AS last
			FROM record.leadership WINDOW w AS (ORDER BY number)) c WHERE epoch < before OR epoch = before AND node <> last`,
	} {
		require.Empty(e.t, e.ask(sql), what)
	}
}

// holdUp makes every change of the catalog wait in the database, in the middle of its
// statement, until the result is called.
func (e *commonDatabase) holdUp() (release func()) {
	e.t.Helper()
	ask := e.session()
	ask(`BEGIN`)
	ask(`SELECT rev FROM catalog_head FOR UPDATE`)
	return func() { ask(`COMMIT`) }
}

// waiting is how many sessions wait for a lock.
func (e *commonDatabase) waiting() string {
	return e.ask(`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)[0][0]
}

// manager is the node that holds the leadership, as the database says.
func (e *commonDatabase) manager(l *lab) *node {
	e.t.Helper()
	name := e.ask(`SELECT n.name FROM leadership l JOIN node n ON n.id = l.node_id`)
	for _, n := range l.nodes {
		if len(name) == 1 && name[0][0] == n.name {
			return n
		}
	}
	return nil
}

// epoch is the one of the present leadership.
func (e *commonDatabase) epoch() string { return e.ask(`SELECT epoch FROM leadership`)[0][0] }

// voting makes a lab of three nodes that all vote, with a database elsewhere that records
// who writes. The function steady answers on each of them.
func voting(t *testing.T) (*lab, *commonDatabase) {
	t.Helper()
	l, e := beginElsewhere(t, 3)
	l.nodes[0].deploy("steady", "ok")
	t.Logf("three nodes voted after %s", l.awaitVoters(3).Round(time.Second))
	e.record()
	return l, e
}

// but are the nodes of the lab without one.
func (l *lab) but(n *node) (others []*node) {
	for _, o := range l.nodes {
		if o != n {
			others = append(others, o)
		}
	}
	return others
}

// awaitVoters waits until count nodes vote. A node gets its vote after it was alive for a
// minute.
func (l *lab) awaitVoters(count int) time.Duration {
	l.t.Helper()
	return l.nodes[0].await(fmt.Sprint(count, " voters"), 2*time.Minute, func() bool { return len(l.running()[0].cluster().Voters) == count })
}
