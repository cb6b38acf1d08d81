package join

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newcomer is a request that a node of PiCloud sends.
var newcomer = Request{
	Token: "PCT1.AAAA", Node: "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11", Name: "pi-2", Version: "1.0", Arch: "arm64",
	CSR: []byte{1}, ClusterPort: 7947, GossipPort: 7946,
}

// lets is a door that lets everybody in.
func lets(t *testing.T) *Door {
	t.Helper()
	return NewDoor(func(_ context.Context, r Request, _ netip.Addr) (Answer, error) {
		return Answer{Name: "home", Address: r.Name}, nil
	}, slog.New(slog.DiscardHandler))
}

// call opens a connection to a door, as Dial does.
func call(t *testing.T, d *Door) Dial {
	t.Helper()
	return func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		served := make(chan struct{})
		go func() {
			defer close(served)
			d.Serve(t.Context(), server)
		}()
		t.Cleanup(func() {
			client.Close()
			<-served
		})
		return client, nil
	}
}

// TestWhoSaysNothingKeepsNobodyOut: connections without a request take no place from a node
// that joins, and end by themselves.
func TestWhoSaysNothingKeepsNobodyOut(t *testing.T) {
	d := lets(t)
	d.patience = time.Second
	var silent []net.Conn
	for range 2 * maxExchanges {
		conn, err := call(t, d)(t.Context())
		require.NoError(t, err)
		silent = append(silent, conn)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	answer, err := Ask(ctx, call(t, d), "pi-1:7947", newcomer)
	require.NoError(t, err)
	require.Equal(t, "home", answer.Name)
	for _, conn := range silent {
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			require.ErrorIs(t, err, io.ErrClosedPipe, "the door closed it already")
		}
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "the door closed it")
	}
}

// TestOneAddressAsksSeldom: beyond the rate a node hears that, and when to ask again.
func TestOneAddressAsksSeldom(t *testing.T) {
	d := lets(t)
	for range maxAttempts {
		_, err := Ask(t.Context(), call(t, d), "pi-1:7947", newcomer)
		require.NoError(t, err)
	}
	_, err := Ask(t.Context(), call(t, d), "pi-1:7947", newcomer)
	require.ErrorIs(t, err, picloud.ErrUnavailable)
}

// TestRequestsAreChecked: what no node sends reaches nobody who decides.
func TestRequestsAreChecked(t *testing.T) {
	require.NoError(t, newcomer.check())
	for what, change := range map[string]func(*Request){
		"a name":            func(r *Request) { r.Name = "pi 2\x1b[2J" },
		"no id":             func(r *Request) { r.Node = "" },
		"an id in capitals": func(r *Request) { r.Node = strings.ToUpper(r.Node) },
		"no port":           func(r *Request) { r.ClusterPort = 0 },
		"a port below zero": func(r *Request) { r.GossipPort = -1 },
		"a port too high":   func(r *Request) { r.ClusterPort = 65536 },
		"an address":        func(r *Request) { r.Advertise = "pi-2\x1b[2J" },
		"a URL":             func(r *Request) { r.Advertise = "http://pi-2/" },
		"a long address":    func(r *Request) { r.Advertise = strings.Repeat("a", maxHost+1) },
	} {
		r := newcomer
		change(&r)
		require.ErrorIs(t, r.check(), picloud.ErrInvalid, what)
		_, err := Ask(t.Context(), call(t, lets(t)), "pi-1:7947", r)
		require.ErrorIs(t, err, picloud.ErrInvalid, what)
	}
	for _, address := range []string{"pi-2", "pi-2.local", "192.168.1.7", "2001:db8::7", "fe80::1%eth0"} {
		r := newcomer
		r.Advertise = address
		require.NoError(t, r.check(), address)
	}
}

// FuzzDoor: whatever a stranger sends, a door ends the exchange and asks nobody about a
// request that no node sends.
func FuzzDoor(f *testing.F) {
	framed := func(text string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
	}
	var good bytes.Buffer
	if err := write(&good, newcomer); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add(framed(`{}`))
	f.Add(framed(`{"node":{"node":1}}`))
	f.Add(framed(strings.Repeat("[", 10_000)))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, '{'})
	f.Add([]byte{0, 0, 0, 9, '{'})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		d := NewDoor(func(_ context.Context, r Request, _ netip.Addr) (Answer, error) {
			if err := r.check(); err != nil {
				t.Errorf("the request of %q came through: %v", sent, err)
			}
			return Answer{}, nil
		}, slog.New(slog.DiscardHandler))
		d.patience = 10 * time.Millisecond
		client, server := net.Pipe()
		served := make(chan struct{})
		go func() {
			defer close(served)
			d.Serve(t.Context(), server)
		}()
		go func() { // what a door has not read is lost with its end
			_, _ = client.Write(sent)
			if client.SetReadDeadline(time.Now().Add(time.Second)) == nil { // else the door is closed
				_, _ = client.Read(make([]byte, maxFrame))
			}
			client.Close()
		}()
		<-served
	})
}

// FuzzRead: a frame never becomes more memory than it has bytes, and never a panic.
func FuzzRead(f *testing.F) {
	var good bytes.Buffer
	if err := write(&good, reply{Answer: &Answer{Cluster: "c", Members: []Member{{Node: "n"}}}}); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, sent []byte) {
		var r reply
		err := read(bytes.NewReader(sent), &r)
		if err == nil && len(sent) < 4 {
			t.Errorf("%q is no message", sent)
		}
	})
}
