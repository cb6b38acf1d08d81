package join

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/picloud/picloud"
)

// Dial opens a connection to a member at an address, and verifies that the cluster of
// the token answers.
type Dial func(ctx context.Context) (net.Conn, error)

// Ask sends a request to a member and returns its answer. ErrUnavailable says that the
// member could not be reached or has no time: trying again makes sense. All other errors
// are final.
func Ask(ctx context.Context, dial Dial, address string, r Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	conn, err := dial(ctx)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return Answer{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // the caller gave up
	defer stop()
	var got reply
	if err = write(conn, r); err == nil {
		err = read(conn, &got)
	}
	switch {
	case errors.Is(err, errFrame):
		return Answer{}, &picloud.Error{Code: picloud.CodeInternal, Op: "join", Resource: address, Detail: "its answer cannot be read", Hint: "run the same version of PiCloud on both nodes", Err: err}
	case err != nil:
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Answer{}, &picloud.Error{
			Code: picloud.CodeUnreached, Op: "join", Resource: address, Detail: "the connection ended before the answer came", RetryAfter: time.Second,
			Hint: "the same token works again: it was not used twice", Err: err,
		}
	case got.Refusal != nil:
		return Answer{}, got.Refusal.err()
	case got.Answer == nil:
		return Answer{}, fmt.Errorf("join %s: the answer is empty", address)
	}
	return *got.Answer, nil
}
