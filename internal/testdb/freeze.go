package testdb

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// Through returns another DSN of a database: pass carries what a session's client sends to the
// server, until either ends; what the server sends comes back as it is.
func Through(t testing.TB, dsn string, pass func(client io.Reader, server io.Writer)) string {
	t.Helper()
	conf, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	network, address := pgconn.NetworkAddress(conf.Host, conf.Port)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				client.Close()
				continue
			}
			wg.Go(func() { pass(client, server); server.Close() })
			wg.Go(func() { _, _ = io.Copy(client, server); client.Close() })
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s password='%s' dbname=%s sslmode=disable search_path=%s",
		l.Addr().(*net.TCPAddr).Port, conf.User, conf.Password, conf.Database, conf.RuntimeParams["search_path"])
}

// Freezing returns another DSN of a database. A session there says nothing more when its
// client has come to a text: what the server sees of a node that is frozen. The channel is
// closed then.
func Freezing(t testing.TB, dsn, text string) (way string, frozen <-chan struct{}) {
	t.Helper()
	f := &freezer{text: []byte(text), frozen: make(chan struct{})}
	return Through(t, dsn, f.pass), f.frozen
}

type freezer struct {
	text   []byte
	frozen chan struct{}
	once   sync.Once
}

// pass copies what a client sends, up to the text.
func (f *freezer) pass(client io.Reader, server io.Writer) {
	part := make([]byte, 128<<10)
	for silent := false; ; {
		n, err := client.Read(part)
		if bytes.Contains(part[:n], f.text) {
			silent = true
			f.once.Do(func() { close(f.frozen) })
		}
		if !silent {
			_, _ = server.Write(part[:n]) // the client sees a connection that broke
		}
		if err != nil {
			return
		}
	}
}
