package elect

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/backoff"
)

// Lead says which node leads in which term.
type Lead struct {
	Node string `json:"node"` // its UUID
	Term uint64 `json:"term"` // 0: by a lease
}

// Elector proposes the manager of the cluster.
type Elector interface {
	// Start begins to take part. Its error says what has to be mended first.
	Start() error
	// Stop ends the duty, hands the leadership on when there is somebody, and blocks until
	// all goroutines have ended, in bounded time. It is no removal: the node stays a member.
	Stop()
	// Leader returns who leads, and whether that is known.
	Leader() (Lead, bool)
	// Changed receives when Leader may have changed. It holds one value; one reader.
	Changed() <-chan struct{}
	// Step gives the leadership away, if the node has it, within 15 s. A node that is
	// alone takes it again after a pause.
	Step()
}

// Fence is the row in PostgreSQL that decides.
type Fence interface {
	// Acquire takes the leadership of a term and returns its epoch. An error with
	// picloud.CodeDeposed says that the leadership belongs to somebody else.
	Acquire(ctx context.Context, cluster string, term uint64, node string) (epoch int64, err error)
}

// Duty does what only the manager does. It returns within a second after ctx ended: the
// leadership is over then. When it returns earlier, the node gives the leadership away;
// an error with picloud.CodeDeposed is the usual reason. Runs never overlap.
type Duty func(ctx context.Context, lead Lead, epoch int64) error

const (
	// dutyGrace is how long a duty may run on after its leadership.
	dutyGrace = time.Second
	// fenceTime bounds one question to the fence.
	fenceTime = 10 * time.Second
)

// deposed reports whether err says that the leadership belongs to somebody else.
func deposed(err error) bool { return picloud.CodeOf(err) == picloud.CodeDeposed }

// errTime says that something did not end within its time.
var errTime = errors.New("it did not end within its time")

// within runs work in a goroutine and waits for it at most for a while. When it lasts
// longer, the goroutine ends with the work, whose result nobody sees.
func within[T any](ctx context.Context, limit time.Duration, work func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := work()
		done <- result{v, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var zero T
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		return zero, errTime
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	}
}

// pause waits, and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool { return backoff.Pause(ctx, d) }

// signal wakes the reader of a channel that holds one value.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
