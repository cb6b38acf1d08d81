package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hosts is a resolver: each look-up of a name takes the next answer, the last
// one for ever.
type hosts struct {
	mu      sync.Mutex
	answers map[string][]string
	asked   []string
}

func (h *hosts) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, host)
	list := h.answers[host]
	if len(list) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(list) > 1 {
		h.answers[host] = list[1:]
	}
	var out []netip.Addr
	for s := range strings.FieldsSeq(list[0]) {
		out = append(out, netip.MustParseAddr(s))
	}
	return out, ctx.Err()
}

// newClient returns a client whose connections to public addresses arrive at
// the server; dialled lists where they were meant to go.
func newClient(t *testing.T, o Options, server *httptest.Server) (*Client, func() []string) {
	t.Helper()
	c := New(o)
	t.Cleanup(c.Close)
	var mu sync.Mutex
	var dialled []string
	plain := c.connect
	c.connect = func(ctx context.Context, d *net.Dialer, to netip.AddrPort) (net.Conn, error) {
		mu.Lock()
		dialled = append(dialled, to.String())
		mu.Unlock()
		if isPublic(to.Addr()) && server != nil {
			var direct net.Dialer
			return direct.DialContext(ctx, "tcp", server.Listener.Addr().String())
		}
		return plain(ctx, d, to)
	}
	return c, func() []string { mu.Lock(); defer mu.Unlock(); return append([]string(nil), dialled...) }
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func codeOf(t testing.TB, err error) string {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e, "%v", err)
	return e.Code
}

// local is the rule for a test server.
func local(s *httptest.Server) string { return s.Listener.Addr().String() }

func TestFetch(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Add("X-A", "1")
		w.Header().Add("X-A", "2")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s %s %q %s", r.Method, r.URL, r.Host, r.Header.Get("X-Token"), body, r.UserAgent())
	})
	c, _ := newClient(t, Options{}, nil)
	resp, err := c.Fetch(t.Context(), "app", policyOf(t, local(s)), Request{
		URL: s.URL + "/a?b=c", Method: "post", Header: []Field{{"x-token", "t"}}, Body: []byte("hello"),
	})
	require.NoError(t, err)
	defer resp.Release()
	require.Equal(t, http.StatusTeapot, resp.Status)
	require.Equal(t, `POST /a?b=c `+local(s)+` t "hello" PiCloud`, string(resp.Body))
	require.Equal(t, s.URL+"/a?b=c", resp.URL)
	var a []string
	for _, f := range resp.Header {
		if f.Name == "x-a" {
			a = append(a, f.Value)
		}
	}
	require.Equal(t, []string{"1", "2"}, a)

	_, err = c.Fetch(t.Context(), "app", nil, Request{URL: s.URL, Function: "--app app f"})
	require.Equal(t, CodeDenied, codeOf(t, err))
	require.Equal(t, "no egress rule allows "+local(s)+"; allow it with: picloud egress allow --app app f "+local(s), err.Error())
}

func TestWhatNoRuleNamesIsNeverLookedUp(t *testing.T) {
	names := &hosts{answers: map[string][]string{"evil.test": {"93.184.216.34"}}}
	c, dialled := newClient(t, Options{Resolver: names}, nil)
	for _, rules := range [][]string{nil, {"good.test"}, {"*.evil.test"}, {"evil.test:8443"}, {"192.168.0.0/16:8123"}} {
		_, err := c.Fetch(t.Context(), "app", policyOf(t, rules...), Request{URL: "https://evil.test/secret"})
		require.Equal(t, CodeDenied, codeOf(t, err))
		require.Contains(t, err.Error(), "picloud egress allow FUNCTION evil.test")
	}
	_, err := c.Fetch(t.Context(), "app", nil, Request{URL: "https://[2606:2800:220:1::1]/"})
	require.ErrorContains(t, err, "picloud egress allow FUNCTION '[2606:2800:220:1::1]:443'")
	require.Empty(t, names.asked)
	require.Empty(t, dialled())
}

// TestRebinding: the name is looked up once per connection, and what is dialled
// is what was checked.
func TestRebinding(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // each request connects anew
		fmt.Fprint(w, "public")
	})
	names := &hosts{answers: map[string][]string{"rebind.test": {"93.184.216.34", "127.0.0.1", "169.254.169.254", "10.0.0.1 ::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"}}}
	c, dialled := newClient(t, Options{Resolver: names}, s)
	p := policyOf(t, "rebind.test")
	resp, err := c.Fetch(t.Context(), "app", p, Request{URL: "http://rebind.test/"})
	require.NoError(t, err)
	require.Equal(t, "public", string(resp.Body))
	for range 5 {
		_, err = c.Fetch(t.Context(), "app", p, Request{URL: "http://rebind.test/"})
		require.Equal(t, CodeDenied, codeOf(t, err))
	}
	require.Equal(t, []string{"93.184.216.34:80"}, dialled())
	require.Len(t, names.asked, 6)
}

// TestOnlyAllowedAddressesOfANameAreDialled: one good address among bad ones.
func TestOnlyAllowedAddressesOfANameAreDialled(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	names := &hosts{answers: map[string][]string{"mixed.test": {"127.0.0.1 10.0.0.1 93.184.216.34 ::1"}, "nas.test": {"127.0.0.1"}}}
	c, dialled := newClient(t, Options{Resolver: names}, s)
	_, err := c.Fetch(t.Context(), "app", policyOf(t, "mixed.test"), Request{URL: "http://mixed.test/"})
	require.NoError(t, err)
	require.Equal(t, []string{"93.184.216.34:80"}, dialled())

	port := s.Listener.Addr().(*net.TCPAddr).Port
	url := fmt.Sprintf("http://nas.test:%d/", port)
	_, err = c.Fetch(t.Context(), "app", policyOf(t, "nas.test"), Request{URL: url})
	require.Equal(t, CodeDenied, codeOf(t, err))
	require.ErrorContains(t, err, "nas.test has the address 127.0.0.1, which is not a public one")
	require.ErrorContains(t, err, "picloud egress allow FUNCTION 127.0.0.1:"+strconv.Itoa(port))
	_, err = c.Fetch(t.Context(), "app", policyOf(t, "nas.test", "0.0.0.0/0"), Request{URL: url})
	require.Equal(t, CodeDenied, codeOf(t, err), "a range with public addresses is about those")
	_, err = c.Fetch(t.Context(), "app", policyOf(t, "127.0.0.0/8"), Request{URL: url})
	require.NoError(t, err)
}

// TestTheRuleLocalhost opens this machine at its port, by name and by address, and
// nothing that a resolver could make of the name.
func TestTheRuleLocalhost(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "reached") })
	port := s.Listener.Addr().(*net.TCPAddr).Port
	c, _ := newClient(t, Options{}, nil)
	_, err := c.Fetch(t.Context(), "app", policyOf(t, "example.org"), Request{URL: fmt.Sprintf("http://localhost:%d/", port)})
	require.ErrorContains(t, err, fmt.Sprintf("picloud egress allow FUNCTION localhost:%d", port))
	for _, rule := range []string{"localhost", "LOCALHOST.", fmt.Sprintf("localhost:%d", port)} {
		p := policyOf(t, rule)
		for _, host := range []string{"localhost", "LocalHost.", "127.0.0.1", "[::ffff:127.0.0.1]"} {
			resp, err := c.Fetch(t.Context(), "app", p, Request{URL: fmt.Sprintf("http://%s:%d/", host, port)})
			require.NoError(t, err, "%s to %s", rule, host)
			require.Equal(t, "reached", string(resp.Body))
			resp.Release()
		}
	}
	p := policyOf(t, "localhost:8123")
	for to, want := range map[string]bool{"127.0.0.1:8123": true, "[::1]:8123": true, "127.0.0.1:80": false, "127.0.0.2:8123": false, "10.0.0.1:8123": false, "8.8.8.8:8123": false} {
		require.Equal(t, want, p.address(netip.MustParseAddrPort(to), p.name("localhost", 8123)), to)
	}
}

func TestPrivateAddressesInEverySpelling(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "reached") })
	port := s.Listener.Addr().(*net.TCPAddr).Port
	c, dialled := newClient(t, Options{}, nil)
	p := policyOf(t, "*", "0.0.0.0/0", "::/0")
	for _, host := range []string{
		"127.0.0.1", "127.0.0.1.", "127.1.2.3", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1]", "[::]", "0.0.0.0", "127。0。0。1", "１２７.0.0.1",
		"localhost", "LOCALHOST.", "10.0.0.1", "169.254.169.254", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[::127.0.0.1]",
	} {
		_, err := c.Fetch(t.Context(), "app", p, Request{URL: fmt.Sprintf("http://%s:%d/", host, port)})
		require.Equal(t, CodeDenied, codeOf(t, err), host)
	}
	for _, host := range []string{"2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "0", "017700000001"} {
		_, err := c.Fetch(t.Context(), "app", p, Request{URL: fmt.Sprintf("http://%s:%d/", host, port)})
		require.Equal(t, CodeInvalid, codeOf(t, err), host)
	}
	require.Empty(t, dialled())
}

// TestTheNodesOwnPorts are reached by no rule, on no address of the machine.
func TestTheNodesOwnPorts(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	var reached atomic.Int32
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) })}}
	s.Start()
	defer s.Close()
	port := l.Addr().(*net.TCPAddr).Port
	reserved := func(p uint16) bool { return int(p) == port }
	rules := []string{"*", "127.0.0.0/8", "::1", "0.0.0.0", "::", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fe80::/10", "fd00::/8", "169.254.0.0/16", "100.64.0.0/10", "198.18.0.0/15"}
	hosts := []string{"127.0.0.1", "127.9.8.7", "[::1]", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "[::ffff:0.0.0.0]", "localhost"}
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	var outside []string
	for _, a := range addrs {
		p := netip.MustParsePrefix(a.String())
		if p.Addr().Is4() && !p.Addr().IsLoopback() {
			outside = append(outside, p.Addr().String())
			rules = append(rules, p.Addr().String())
		}
	}
	c, dialled := newClient(t, Options{Reserved: reserved}, nil)
	for _, host := range append(hosts, outside...) {
		_, err := c.Fetch(t.Context(), "app", policyOf(t, rules...), Request{URL: fmt.Sprintf("http://%s:%d/", host, port)})
		require.Equal(t, CodeDenied, codeOf(t, err), host)
		require.ErrorContains(t, err, "the PiCloud node itself", host)
	}
	require.Empty(t, dialled())

	// An address that the list does not have, such as one that is a second old.
	blind, _ := newClient(t, Options{Reserved: reserved, Addresses: func() ([]net.Addr, error) { return nil, nil }}, nil)
	for _, host := range outside {
		_, err := blind.Fetch(t.Context(), "app", policyOf(t, rules...), Request{URL: fmt.Sprintf("http://%s:%d/", host, port)})
		require.Equal(t, CodeDenied, codeOf(t, err), host)
	}
	require.Zero(t, reached.Load())

	open, _ := newClient(t, Options{}, nil)
	_, err = open.Fetch(t.Context(), "app", policyOf(t, "127.0.0.0/8"), Request{URL: fmt.Sprintf("http://127.0.0.1:%d/", port)})
	require.NoError(t, err)
	require.Equal(t, int32(1), reached.Load(), "the test's server does answer")
}

func TestRedirects(t *testing.T) {
	var s *httptest.Server
	var got http.Header
	s = serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case strings.HasPrefix(path, "/to/"):
			http.Redirect(w, r, r.URL.RawQuery, http.StatusFound)
		case path == "/loop":
			http.Redirect(w, r, "/loop", http.StatusMovedPermanently)
		case path == "/303":
			http.Redirect(w, r, "/end", http.StatusSeeOther)
		case path == "/307":
			http.Redirect(w, r, "/end", http.StatusTemporaryRedirect)
		default:
			got = r.Header
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s", r.Method, r.Host, body)
		}
	})
	names := &hosts{answers: map[string][]string{"a.test": {"93.184.216.34"}, "b.test": {"93.184.216.35"}, "c.test": {"10.0.0.1"}}}
	c, _ := newClient(t, Options{Resolver: names}, s)
	p := policyOf(t, "a.test", "b.test", "c.test")
	fetch := func(url string, r Request) (*Response, error) {
		r.URL = url
		return c.Fetch(t.Context(), "app", p, r)
	}
	for _, to := range []string{"http://127.0.0.1/", "http://c.test/", "http://d.test/", "http://169.254.169.254/", "http://[::ffff:10.0.0.1]/", "//" + local(s) + "/"} {
		_, err := fetch("http://a.test/to/?"+to, Request{})
		require.Equal(t, CodeDenied, codeOf(t, err), to)
	}
	require.NotContains(t, names.asked, "d.test")
	for _, to := range []string{"ftp://a.test/", "http://user@b.test/", "file:///etc/passwd", "http://2130706433/"} {
		_, err := fetch("http://a.test/to/?"+to, Request{})
		require.Equal(t, CodeRedirects, codeOf(t, err), to)
	}
	_, err := fetch("http://a.test/loop", Request{})
	require.Equal(t, CodeRedirects, codeOf(t, err))
	resp, err := fetch("http://a.test/loop", Request{Redirects: -1})
	require.NoError(t, err)
	require.Equal(t, http.StatusMovedPermanently, resp.Status)

	enough := errors.New("enough")
	_, err = fetch("http://a.test/303", Request{OnRedirect: func() error { return enough }})
	require.Equal(t, enough, err)

	secret := []Field{{"Authorization", "Bearer x"}, {"Cookie", "a=b"}, {"X-Api-Key", "k"}, {"Accept", "text/plain"}, {"Content-Type", "text/x"}}
	resp, err = fetch("http://a.test/to/?http://b.test/end", Request{Header: secret})
	require.NoError(t, err)
	require.Equal(t, "GET b.test ", string(resp.Body))
	require.Equal(t, "http://b.test/end", resp.URL)
	for _, name := range []string{"Authorization", "Cookie", "X-Api-Key"} {
		require.Empty(t, got.Values(name), name)
	}
	require.Equal(t, "text/plain", got.Get("Accept"))
	_, err = fetch("http://a.test/to/?http://b.test/to/?http://a.test/end", Request{Header: secret})
	require.NoError(t, err)
	require.Empty(t, got.Get("Authorization"), "what was dropped does not come back")
	_, err = fetch("http://a.test/to/?/end", Request{Header: secret})
	require.NoError(t, err)
	require.Equal(t, "Bearer x", got.Get("Authorization"), "the same host may know")

	resp, err = fetch("http://a.test/303", Request{Method: "PUT", Body: []byte("body"), Header: secret})
	require.NoError(t, err)
	require.Equal(t, "GET a.test ", string(resp.Body))
	require.Empty(t, got.Get("Content-Type"))
	resp, err = fetch("http://a.test/307", Request{Method: "PUT", Body: []byte("body")})
	require.NoError(t, err)
	require.Equal(t, "PUT a.test body", string(resp.Body))
}

func TestRequestsThatCannotBe(t *testing.T) {
	c, dialled := newClient(t, Options{}, nil)
	p := policyOf(t, "127.0.0.0/8")
	bad := func(name string, r Request) {
		t.Helper()
		r.URL = "http://127.0.0.1:1/"
		_, err := c.Fetch(t.Context(), "app", p, r)
		require.Equal(t, CodeInvalid, codeOf(t, err), name)
	}
	for _, name := range []string{
		"Host", "host", "Connection", "Transfer-Encoding", "content-length", "Upgrade", "TE", "Trailer", "Proxy-Authorization", "proxy-connection", "Proxy-X", "Keep-Alive", "Expect",
		"", "a b", "a:b", "a\r\nb", "ä",
	} {
		bad(name, Request{Header: []Field{{name, "x"}}})
	}
	for _, value := range []string{"a\r\nX-B: c", "a\nb", "a\x00", "\x7f"} {
		bad("value", Request{Header: []Field{{"X-A", value}}})
	}
	for _, method := range []string{"CONNECT", "trace", "GET /x", "G\r\nET", strings.Repeat("A", 33), "ä"} {
		bad(method, Request{Method: method})
	}
	bad("fields", Request{Header: make([]Field, maxFields+1)})
	bad("header size", Request{Header: []Field{{"X-A", strings.Repeat("a", maxRequestHeader)}}})
	bad("body", Request{Body: make([]byte, MaxRequestBody+1)})
	bad("max_body", Request{MaxBody: MaxBody + 1})
	bad("max_body", Request{MaxBody: -1})
	bad("timeout", Request{Timeout: -1})
	bad("redirects", Request{Redirects: MaxRedirects + 1})
	require.Empty(t, dialled())
}

// budget is a node's memory for bodies.
type budget struct{ left atomic.Int64 }

func (b *budget) Take(n int64) bool {
	if b.left.Add(-n) < 0 {
		b.left.Add(n)
		return false
	}
	return true
}

func (b *budget) Give(n int64) { b.left.Add(n) }

func TestBodiesAreBounded(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err := z.Write(make([]byte, 10<<20))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		case "/headers":
			w.Header().Set("X-A", strings.Repeat("a", 70<<10))
		case "/short":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("short"))
		default:
			n, _ := strconv.Atoi(r.URL.Path[1:])
			_, _ = w.Write(bytes.Repeat([]byte("x"), n))
		}
	})
	memory := &budget{}
	memory.left.Store(4 << 20)
	c, _ := newClient(t, Options{Memory: memory}, nil)
	p := policyOf(t, local(s))
	fetch := func(path string, limit int64) (*Response, error) {
		return c.Fetch(t.Context(), "app", p, Request{URL: s.URL + path, MaxBody: limit})
	}
	for path, want := range map[string]string{"/bomb": CodeTooLarge, "/endless": CodeTooLarge, "/headers": CodeTooLarge, "/short": CodeFailed, "/1001": CodeTooLarge} {
		_, err := fetch(path, 1000)
		require.Equal(t, want, codeOf(t, err), path)
	}
	resp, err := fetch("/1000", 1000)
	require.NoError(t, err)
	require.Len(t, resp.Body, 1000)
	require.Equal(t, int64(4<<20), memory.left.Load(), "small bodies take nothing")
	for _, path := range []string{"/bomb", "/endless"} {
		_, err = fetch(path, MaxBody)
		require.Equal(t, CodeBusy, codeOf(t, err), path)
	}
	require.Equal(t, int64(4<<20), memory.left.Load(), "all given back")
	resp, err = fetch("/1000000", 0)
	require.NoError(t, err)
	require.Less(t, memory.left.Load(), int64(4<<20-900<<10))
	resp.Release()
	resp.Release()
	require.Equal(t, int64(4<<20), memory.left.Load())
}

func TestTimeouts(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = w.Write([]byte("begun"))
			w.(http.Flusher).Flush()
		}
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	c, _ := newClient(t, Options{}, nil)
	p := policyOf(t, local(s))
	for _, path := range []string{"/head", "/body"} {
		begun := time.Now()
		_, err := c.Fetch(t.Context(), "app", p, Request{URL: s.URL + path, Timeout: 50 * time.Millisecond})
		require.Equal(t, CodeTimeout, codeOf(t, err), path)
		require.Less(t, time.Since(begun), 5*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err = c.Fetch(ctx, "app", p, Request{URL: s.URL + path})
		cancel()
		require.Equal(t, CodeTimeout, codeOf(t, err), "the call's deadline")
	}
}

func TestFailuresHaveCodes(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buf, _ := w.(http.Hijacker).Hijack()
		fmt.Fprint(buf, "no http at all\r\n\r\n")
		buf.Flush()
		conn.Close()
	})
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	defer secure.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	unused := l.Addr().String()
	require.NoError(t, l.Close())
	c, _ := newClient(t, Options{Resolver: &hosts{}}, nil)
	p := policyOf(t, "127.0.0.0/8", "nowhere.test")
	for url, want := range map[string]string{
		s.URL: CodeFailed, secure.URL: CodeTLS, "https://" + local(s): CodeTLS, "http://" + unused: CodeConnect, "http://nowhere.test": CodeDNS,
	} {
		_, err := c.Fetch(t.Context(), "app", p, Request{URL: url})
		require.Equal(t, want, codeOf(t, err), "%s: %v", url, err)
		require.NotContains(t, err.Error(), "->", "no addresses of this machine")
	}
}

func TestPlacesAreBounded(t *testing.T) {
	hang, arrived := make(chan struct{}), make(chan struct{}, 10)
	s := serve(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-hang })
	c, _ := newClient(t, Options{MaxConcurrent: 3, MaxPerApp: 2}, nil)
	p := policyOf(t, local(s))
	var running sync.WaitGroup
	begin := func(app string) {
		running.Go(func() { _, _ = c.Fetch(t.Context(), app, p, Request{URL: s.URL}) })
		<-arrived
	}
	begin("a")
	begin("a")
	_, err := c.Fetch(t.Context(), "a", p, Request{URL: s.URL})
	require.Equal(t, CodeBusy, codeOf(t, err))
	require.ErrorContains(t, err, "the app")
	begin("b")
	_, err = c.Fetch(t.Context(), "c", p, Request{URL: s.URL})
	require.Equal(t, CodeBusy, codeOf(t, err))
	require.ErrorContains(t, err, "this node")
	close(hang)
	running.Wait()
	_, err = c.Fetch(t.Context(), "a", p, Request{URL: s.URL})
	require.NoError(t, err)
	require.Empty(t, c.places.apps)
	require.Zero(t, c.places.used)
}

// TestConnectionsAreNotShared between apps, nor between policies.
func TestConnectionsAreNotShared(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
	c, _ := newClient(t, Options{}, nil)
	from := func(app string, rules ...string) string {
		resp, err := c.Fetch(t.Context(), app, policyOf(t, rules...), Request{URL: s.URL})
		require.NoError(t, err)
		return string(resp.Body)
	}
	first := from("a", "127.0.0.1")
	require.Equal(t, first, from("a", "127.0.0.1"), "the connection is kept")
	require.NotEqual(t, first, from("b", "127.0.0.1"))
	require.NotEqual(t, first, from("a", "127.0.0.0/8"))
	_, err := c.Fetch(t.Context(), "a", policyOf(t, "10.0.0.0/8"), Request{URL: s.URL})
	require.Equal(t, CodeDenied, codeOf(t, err))
	for i := range 2 * maxTransports {
		from("app-"+strconv.Itoa(i), "127.0.0.1")
		require.LessOrEqual(t, len(c.pool.entries), maxTransports)
	}
	require.NotEqual(t, first, from("a", "127.0.0.1"), "evicted long ago")
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	arrived := make(chan struct{})
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() })
	c, _ := newClient(t, Options{}, nil)
	failure, policy := make(chan error), policyOf(t, local(s))
	go func() {
		_, err := c.Fetch(t.Context(), "app", policy, Request{URL: s.URL})
		failure <- err
	}()
	<-arrived
	closed := make(chan struct{})
	go func() { c.Close(); close(closed) }()
	require.Equal(t, CodeTimeout, codeOf(t, <-failure))
	<-closed
	_, err := c.Fetch(t.Context(), "app", policyOf(t, local(s)), Request{URL: s.URL})
	require.Equal(t, CodeFailed, codeOf(t, err))
}

// TestNoProxyFromTheEnvironment: it would be asked to reach what we may not.
func TestNoProxyFromTheEnvironment(t *testing.T) {
	var proxied atomic.Int32
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { proxied.Add(1) })
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "direct") })
	c, _ := newClient(t, Options{Resolver: &hosts{answers: map[string][]string{"a.test": {"93.184.216.34"}}}}, s)
	resp, err := c.Fetch(t.Context(), "app", policyOf(t, "a.test"), Request{URL: "http://a.test/"})
	require.NoError(t, err)
	require.Equal(t, "direct", string(resp.Body))
	require.Zero(t, proxied.Load())
}

// TestOneAddressThatIsSilentDoesNotHoldUpTheNext.
func TestOneAddressThatIsSilentDoesNotHoldUpTheNext(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	names := &hosts{answers: map[string][]string{"two.test": {"93.184.216.34 93.184.216.35"}}}
	c, dialled := newClient(t, Options{Resolver: names}, s)
	answering := c.connect
	c.connect = func(ctx context.Context, d *net.Dialer, to netip.AddrPort) (net.Conn, error) {
		if to.Addr() == netip.MustParseAddr("93.184.216.34") {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return answering(ctx, d, to)
	}
	_, err := c.Fetch(t.Context(), "app", policyOf(t, "two.test"), Request{URL: "http://two.test/"})
	require.NoError(t, err)
	require.Equal(t, []string{"93.184.216.35:80"}, dialled())
}
