package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/picloud/picloud"
)

const (
	// dialTimeout bounds looking a name up and connecting, together.
	dialTimeout = 10 * time.Second
	// dialStagger is how long one address is tried before the next one is too.
	dialStagger = 250 * time.Millisecond
	// maxCandidates bounds the addresses of one name that are tried.
	maxCandidates = 8
)

// dialer connects under one policy.
type dialer struct {
	client *Client
	policy *Policy
}

// dial is a transport's DialContext. It enforces the policy: it looks the addresses
// up, checks them, and dials the checked address itself instead of the name.
func (d *dialer) dial(ctx context.Context, _, address string) (net.Conn, error) {
	if !d.client.enter() {
		return nil, net.ErrClosed
	}
	defer d.client.running.Done()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout) // a transport's context has no deadline
	defer cancel()
	defer context.AfterFunc(d.client.ctx, cancel)()
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, failed(CodeInvalid, "%q is not an address", picloud.Shorten(address, 200))
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, failed(CodeInvalid, "%q is not a port", picloud.Shorten(text, 20))
	}
	to, err := d.candidates(ctx, host, uint16(port))
	if err != nil {
		return nil, err
	}
	return d.race(ctx, host, to)
}

// candidates returns the addresses of a host that the policy allows.
func (d *dialer) candidates(ctx context.Context, host string, port uint16) ([]netip.AddrPort, error) {
	var addrs []netip.Addr
	var named bool
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
		named = d.policy.every(port)
	} else {
		if !d.policy.may(host, port) { // Fetch checked it; this is for other callers
			return nil, denied(host, port)
		}
		named = d.policy.name(host, port)
		if addrs, err = d.client.opts.Resolver.LookupNetIP(ctx, "ip", host); err != nil || len(addrs) == 0 {
			return nil, explainDNS(ctx, host, err)
		}
	}
	var out []netip.AddrPort
	var refused *Error
	for _, addr := range addrs {
		to := netip.AddrPortFrom(addr.Unmap(), port)
		if err := d.allowed(to, named, host); err != nil {
			if refused == nil {
				refused = err
			}
			continue
		}
		if out = append(out, to); len(out) == maxCandidates {
			break
		}
	}
	if len(out) == 0 {
		return nil, refused
	}
	return out, nil
}

// allowed is the check of one address.
func (d *dialer) allowed(to netip.AddrPort, named bool, host string) *Error {
	if d.client.locals.has(to.Addr()) && d.client.opts.Reserved(to.Port()) {
		return failed(CodeDenied, "%s is a port of the PiCloud node itself, which functions never reach", suggest(host, to.Port()))
	}
	if d.policy.address(to, named) {
		return nil
	}
	addr := plain(to.Addr()).String()
	if addr == host || named && isPublic(to.Addr()) {
		return denied(host, to.Port())
	}
	e := denied(addr, to.Port())
	e.Message = host + " has the address " + addr + ", which is not a public one, and no rule has a range with it"
	if isPublic(to.Addr()) {
		e = denied(host, to.Port())
	}
	return e
}

// denied is the error of a host that no rule allows.
func denied(host string, port uint16) *Error {
	e := failed(CodeDenied, "no egress rule allows %s", suggest(host, port))
	e.rule = host
	if _, err := netip.ParseAddr(host); err == nil || host == picloud.Localhost || port != 80 && port != 443 {
		e.rule = suggest(host, port)
	}
	return e
}

// race connects to the first address that answers. It tries one more address after
// each dialStagger ("happy eyeballs").
func (d *dialer) race(ctx context.Context, host string, to []netip.AddrPort) (net.Conn, error) {
	type attempt struct {
		conn net.Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan attempt, len(to))
	timer := time.NewTimer(0)
	defer timer.Stop()
	var failure error
	started, ended := 0, 0
	for ended < len(to) {
		select {
		case <-timer.C:
			if started < len(to) {
				at := to[started]
				started++
				go func() {
					conn, err := d.connect(ctx, host, at)
					done <- attempt{conn, err}
				}()
				timer.Reset(dialStagger)
			}
		case a := <-done:
			ended++
			if a.err == nil {
				cancel() // ends the other attempts; race waits for them
				for ; ended < started; ended++ {
					if late := <-done; late.conn != nil {
						late.conn.Close()
					}
				}
				return a.conn, nil
			}
			if failure == nil {
				failure = a.err
			}
			timer.Reset(0)
		}
	}
	return nil, failure
}

// connect dials one address that was checked. At the moment of connecting it checks
// that the kernel connects to that very address.
func (d *dialer) connect(ctx context.Context, host string, to netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{
		KeepAlive: -1,
		Control: func(_, address string, _ syscall.RawConn) error {
			if now, err := netip.ParseAddrPort(address); err != nil || plain(now.Addr()) != plain(to.Addr()) || now.Port() != to.Port() {
				return failed(CodeDenied, "the address of %s changed while it was dialled", host)
			}
			return nil
		},
	}
	conn, err := d.client.connect(ctx, &dialer, to)
	if err != nil {
		return nil, explainConnect(ctx, host, to.Port(), err)
	}
	// A connection from an address to itself stays on this machine, even if the
	// list of the machine's addresses lacks it.
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	if ok && plain(local.AddrPort().Addr()) == plain(to.Addr()) && d.client.opts.Reserved(to.Port()) {
		conn.Close()
		return nil, failed(CodeDenied, "%s is a port of the PiCloud node itself, which functions never reach", suggest(host, to.Port()))
	}
	return conn, nil
}

func explainConnect(ctx context.Context, host string, port uint16, err error) error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	at := suggest(host, port)
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		return failed(CodeConnect, "%s did not accept a connection in time", at)
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return failed(CodeConnect, "could not connect to %s: %s", at, number.Error())
	}
	return failed(CodeConnect, "could not connect to %s", at)
}

func explainDNS(ctx context.Context, host string, err error) error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound, err == nil:
		return failed(CodeDNS, "there is no host %s", host)
	case ctx.Err() != nil, errors.As(err, &dns) && dns.IsTimeout:
		return failed(CodeDNS, "looking %s up took too long", host)
	}
	return failed(CodeDNS, "%s could not be looked up", host)
}
