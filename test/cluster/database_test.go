package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/testdb"
)

// remote is a PostgreSQL on a machine of its own, behind a relay that can be slow.
type remote struct {
	t       *testing.T
	lab     *lab
	server  *managed.Server
	address string
	space   string
	port    int
	delay   atomic.Int64 // of each piece, in nanoseconds, in both directions
	rate    atomic.Int64 // bytes a second of each session and direction; 0: no limit
}

// remoteDatabase starts a PostgreSQL that the nodes of the lab reach over TCP.
func remoteDatabase(l *lab) *remote {
	l.t.Helper()
	d := &remote{t: l.t, lab: l, server: testdb.Server(l.t), address: "127.0.1.200"}
	if l.spaces {
		const number = 200
		d.address, d.space = fmt.Sprintf("10.77.0.%d", number), l.space(number)
		l.t.Cleanup(func() { ip("netns", "del", d.space) })
		l.plug(number, d.address)
	}
	listener, err := listen(d.space, net.JoinHostPort(d.address, "0"))
	require.NoError(l.t, err)
	d.port = listener.Addr().(*net.TCPAddr).Port
	ctx, cancel := context.WithCancel(context.Background())
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { d.carry(ctx, conn) })
		}
	})
	l.t.Cleanup(func() {
		cancel()
		listener.Close()
		sessions.Wait()
	})
	return d
}

// url is where the first node finds the database.
func (d *remote) url() string {
	return fmt.Sprintf("postgres://picloud@%s/picloud?sslmode=disable", net.JoinHostPort(d.address, strconv.Itoa(d.port)))
}

// carry carries one session.
func (d *remote) carry(ctx context.Context, client net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server, err := net.Dial("unix", filepath.Join(d.server.Socket(), ".s.PGSQL.5432"))
	if err != nil {
		client.Close()
		return
	}
	stop := context.AfterFunc(ctx, func() { client.Close(); server.Close() })
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			defer cancel()
			d.copy(ctx, way[1], way[0])
		})
	}
	both.Wait()
}

// copy carries one direction: each piece arrives late, and no faster than the rate.
func (d *remote) copy(ctx context.Context, to io.Writer, from io.Reader) {
	type piece struct {
		data []byte
		due  time.Time
	}
	way := make(chan piece, 1024)
	var writer sync.WaitGroup
	writer.Go(func() {
		for p := range way {
			select {
			case <-time.After(time.Until(p.due)):
			case <-ctx.Done():
			}
			if _, err := to.Write(p.data); err != nil && !errors.Is(err, net.ErrClosed) {
				return
			}
		}
	})
	defer writer.Wait()
	defer close(way)
	for {
		buf := make([]byte, 512)
		n, err := from.Read(buf)
		if n > 0 {
			if rate := d.rate.Load(); rate > 0 {
				pause(time.Duration(n) * time.Second / time.Duration(rate))
			}
			select {
			case way <- piece{buf[:n], time.Now().Add(time.Duration(d.delay.Load()))}:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// sql asks the database without the relay.
func (d *remote) sql(statement string) string {
	d.t.Helper()
	out, err := psql(d.server.Socket(), "picloud", statement)
	require.NoError(d.t, err, out)
	return out
}

// cut makes the way between the database and a node swallow everything, without a word to
// either; the result mends it.
func (d *remote) cut(n *node) (heal func()) {
	d.t.Helper()
	return cut(d.t, way{n.space, d.address}, way{d.space, n.address})
}

// TestDatabaseElsewhere: the database is on another machine. The way to it swallows what one
// node sends, is slow for all, and the server dies: functions answer all along, the manager
// stays, and each node has the newest revision soon after.
func TestDatabaseElsewhere(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := remoteDatabase(l)
	one := l.add()
	one.env = append(one.env, "PICLOUD_DATABASE_URL="+d.url())
	count := either(2, 3)
	l.fill(count)
	two := l.nodes[1]
	l.awaitHeard(count, healing)
	one.deploy("steady", "ok")
	one.deploy("f", "before")
	epoch := d.sql("SELECT epoch FROM leadership")

	if l.needsNamespaces() {
		silence := either(12*time.Second, 3*time.Minute)
		t.Logf("the way between pi-2 and the database is cut for %s, without a word to either", silence)
		calls := underLoad("steady", l.nodes...)
		heal := d.cut(two)
		begun := time.Now()
		status, body := one.put("f", returning("while pi-2 has no database"))
		require.Contains(t, []int{http.StatusOK, http.StatusCreated, http.StatusAccepted}, status, body)
		pause(silence - time.Since(begun))
		require.Equal(t, epoch, d.sql("SELECT epoch FROM leadership"), "pi-2 does not take the manager's place")
		heal()
		took := two.awaitAnswer("f", "while pi-2 has no database", 10*time.Second)
		t.Logf("pi-2 was on the newest revision %s after the way was back, and part of a deploy after %s", took, l.awaitLive(healing))
		quick := 0
		hears := two.await("LISTEN to be back", 90*time.Second, func() bool { // the gossip tells of a revision later than that
			begun := time.Now()
			status, _ := one.put("f", returning(begun.String()))
			if quick++; status != http.StatusOK && status != http.StatusCreated || time.Since(begun) > 200*time.Millisecond {
				quick = 0
			}
			return quick == 3
		})
		t.Logf("three deploys in a row were on both nodes within 200 ms, %s later", hears)
		calls.requireAll(one)
	}

	for _, slow := range []struct {
		what  string
		delay time.Duration
		rate  int64
	}{
		{"2 s late", time.Second, 0}, // in each direction
		{"at 64 kbit/s", 0, 8000},
	} {
		calls := underLoad("steady", l.nodes...)
		d.delay.Store(int64(slow.delay))
		d.rate.Store(slow.rate)
		begun := time.Now()
		status, body := two.put("f", returning(slow.what))
		t.Logf("a deploy on a database that answers %s: %d after %s", slow.what, status, time.Since(begun).Round(time.Millisecond))
		pause(either(6*time.Second, 2*time.Minute) - time.Since(begun))
		d.delay.Store(0)
		d.rate.Store(0)
		require.Equal(t, epoch, d.sql("SELECT epoch FROM leadership"), "slowness changes no manager")
		if status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout {
			require.Contains(t, body, `"code"`)
		} else {
			require.Contains(t, []int{http.StatusOK, http.StatusCreated, http.StatusAccepted}, status, body)
			for _, n := range l.nodes {
				n.awaitAnswer("f", slow.what, 10*time.Second)
			}
		}
		t.Logf("all nodes took part in a deploy %s later", l.awaitLive(healing))
		calls.requireAll(one)
	}

	t.Log("the database ends at once, and starts again")
	calls := underLoad("steady", l.nodes...)
	require.NoError(t, syscall.Kill(d.server.PID(), syscall.SIGQUIT)) // pg_ctl stop -m immediate
	l.awaitLive(healing)
	one.deploy("f", "after the crash")
	for _, n := range l.nodes {
		_, body := n.call("f")
		require.Equal(t, "after the crash", body, n.name)
	}
	calls.requireAll(one)
	require.Equal(t, epoch, d.sql("SELECT epoch FROM leadership"))
}
