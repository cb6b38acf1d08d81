package join

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/picloud/picloud"
)

const (
	// exchangeTime bounds one exchange, and requestTime how long the request may take to
	// come, and then how long it waits for a place.
	exchangeTime = 30 * time.Second
	requestTime  = 10 * time.Second
	// maxExchanges bounds the exchanges at once.
	maxExchanges = 8
	// maxAttempts is how many requests one address may send within attemptsWithin.
	maxAttempts    = 30
	attemptsWithin = time.Minute
)

// Admit decides about a request, and makes the node a member. From is the address that
// the request came from.
type Admit func(ctx context.Context, r Request, from netip.Addr) (Answer, error)

// Door answers the requests that come to a member. It is safe for concurrent use.
type Door struct {
	admit Admit
	log   *slog.Logger
	rate  *rate
	busy  chan struct{}

	patience time.Duration // with a request that does not come, and then with a place; shorter in tests
}

// NewDoor returns a door that admit decides for.
func NewDoor(admit Admit, log *slog.Logger) *Door {
	return &Door{admit: admit, log: log, rate: newRate(), busy: make(chan struct{}, maxExchanges), patience: requestTime}
}

// Serve answers one request on conn, and closes conn.
func (d *Door) Serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	from := addressOf(conn)
	answer, err := d.exchange(ctx, conn, from)
	r := reply{Answer: &answer}
	if err != nil {
		if errors.Is(err, errFrame) || ctx.Err() != nil {
			return // it does not speak the protocol, or has gone
		}
		r = reply{Refusal: refuse(err)}
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline) // a connection that takes none is closed by its listener
	if err := write(conn, r); err != nil {
		d.log.Info("a node that joins did not get its answer", slog.String("from", from.String()), slog.Any("error", err))
	}
}

func (d *Door) exchange(ctx context.Context, conn net.Conn, from netip.Addr) (Answer, error) {
	// The request comes first: who says nothing takes nobody's place, and whoever asks
	// hears the answer.
	_ = conn.SetDeadline(time.Now().Add(d.patience))
	var r Request
	if err := read(conn, &r); err != nil {
		return Answer{}, errors.Join(errFrame, err)
	}
	busy := &picloud.Error{Code: picloud.CodeOverload, Op: "join", Detail: "many nodes join at this moment", RetryAfter: 5 * time.Second}
	if !d.rate.allow(from, time.Now()) {
		busy.Detail, busy.RetryAfter = "too many requests came from "+from.String(), attemptsWithin
		return Answer{}, busy
	}
	if err := r.check(); err != nil {
		return Answer{}, err
	}
	turn := time.NewTimer(d.patience)
	defer turn.Stop()
	select {
	case d.busy <- struct{}{}:
		defer func() { <-d.busy }()
	case <-turn.C:
		return Answer{}, busy
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	answer, err := d.admit(ctx, r, from)
	if err != nil {
		d.log.Warn("a node was not let into the cluster", slog.String("from", from.String()), slog.String("name", picloud.Shorten(r.Name, 63)), slog.Any("error", err))
		return Answer{}, err
	}
	d.log.Info("a node joined the cluster", slog.String("from", from.String()), slog.String("name", r.Name), slog.String("node", r.Node))
	return answer, nil
}

// explain returns an error for people.
func explain(err error) *picloud.Error {
	if e, ok := errors.AsType[*picloud.Error](err); ok {
		return e
	}
	return &picloud.Error{Code: picloud.CodeInternal, Op: "join", Detail: "the member that was asked failed", Hint: "its log says why"}
}

// addressOf is where a connection comes from.
func addressOf(conn net.Conn) netip.Addr {
	from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap()
}
