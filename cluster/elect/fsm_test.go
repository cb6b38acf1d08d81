package elect

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// memorySink keeps a snapshot in memory.
type memorySink struct {
	bytes.Buffer
	cancelled bool
}

func (*memorySink) ID() string      { return "1" }
func (s *memorySink) Cancel() error { s.cancelled = true; return nil }
func (*memorySink) Close() error    { return nil }

func TestTheLedgerSurvivesASnapshot(t *testing.T) {
	var l, again ledger
	require.Equal(t, Lead{"a", 7}, l.Apply(&raft.Log{Term: 7, Data: []byte(`{"node":"a"}`)}))
	require.Equal(t, errEntry, l.Apply(&raft.Log{Term: 8, Data: []byte(`{"later":"version"}`)}))
	s, err := l.Snapshot()
	require.NoError(t, err)
	var to memorySink
	require.NoError(t, s.Persist(&to))
	s.Release()
	require.NoError(t, again.Restore(io.NopCloser(&to)))
	require.Equal(t, &Lead{"a", 7}, again.last.Load())
}

func FuzzLedger(f *testing.F) {
	f.Add([]byte(`{"node":"6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11"}`))
	f.Add([]byte(`{"lead":{"node":"a","term":7}}`))
	f.Add(bytes.Repeat([]byte("["), 2*maxEntry))
	f.Fuzz(func(t *testing.T, data []byte) {
		var l ledger
		switch got := l.Apply(&raft.Log{Term: 3, Data: data}).(type) {
		case Lead:
			require.NotEmpty(t, got.Node)
			require.EqualValues(t, 3, got.Term)
		case error:
			require.Nil(t, l.last.Load(), "what cannot be read changes nothing")
		}
		_ = l.Restore(io.NopCloser(bytes.NewReader(data)))
	})
}

func TestTheWireBoundsItsConnections(t *testing.T) {
	s := listen(t)
	w := newWire(s)
	defer w.stop()
	l := w.layer()
	var kept []net.Conn
	for range maxConns {
		out, err := net.Dial("tcp", s.Addr().String())
		require.NoError(t, err)
		defer out.Close()
		in, err := l.Accept()
		require.NoError(t, err)
		kept = append(kept, in)
	}
	over, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	defer over.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	require.NoError(t, over.SetReadDeadline(time.Now().Add(patience)))
	_, err = over.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "one too many is closed")
	require.NoError(t, kept[0].Close())
	again, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	defer again.Close()
	require.NotNil(t, <-accepted)

	// The end of a Raft ends its connections, and not the listener.
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = kept[1].Write([]byte{1})
	require.Error(t, err)
	next := w.layer()
	more, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	defer more.Close()
	in, err := next.Accept()
	require.NoError(t, err)
	_ = in
	require.NoError(t, next.Close())
}
