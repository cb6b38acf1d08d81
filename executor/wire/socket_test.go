package wire

import (
	"bytes"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sockets returns both ends of a socket pair.
func sockets(t testing.TB) (a, b *Socket) {
	p, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	var out [2]*Socket
	for i, fd := range p {
		require.NoError(t, syscall.SetNonblock(fd, true))
		out[i], err = NewSocket(os.NewFile(uintptr(fd), "socket"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = out[i].Close() })
	}
	return out[0], out[1]
}

// TestSocket moves more than the kernel buffers, both ways at once.
func TestSocket(t *testing.T) {
	a, b := sockets(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	var wg sync.WaitGroup
	for _, pair := range [][2]*Socket{{a, b}, {b, a}} {
		wg.Go(func() {
			if n, err := pair[0].Write(data); n != len(data) || err != nil {
				t.Errorf("wrote %d: %v", n, err)
			}
		})
		wg.Go(func() {
			got := make([]byte, len(data))
			if _, err := io.ReadFull(pair[1], got); err != nil || !bytes.Equal(got, data) {
				t.Errorf("read something else: %v", err)
			}
		})
	}
	wg.Wait()
	n, err := a.Read(nil)
	require.Zero(t, n)
	require.NoError(t, err)
}

func TestSocketEnds(t *testing.T) {
	a, b := sockets(t)
	require.NoError(t, a.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	_, err := a.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, b.Close())
	require.NoError(t, a.SetReadDeadline(time.Time{}))
	_, err = a.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	_, err = a.Write([]byte("x"))
	require.ErrorIs(t, err, syscall.EPIPE)
	require.NoError(t, a.Close())
	_, err = a.Write([]byte("x"))
	require.Error(t, err)
	_, err = a.Read(make([]byte, 1))
	require.Error(t, err)
}
