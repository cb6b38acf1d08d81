package agent

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
)

// trouble tells the node's log about calls that the node, not the function,
// failed: callers learn no cause, and the function's log is its owner's. It is
// one line a second at most, since such failures come in floods.
type trouble struct {
	log    *slog.Logger
	next   atomic.Int64 // unix nanoseconds before which nothing is logged
	silent atomic.Int64 // failures since the last line
}

func (t *trouble) note(inv *picloud.Invocation) {
	now, next := time.Now().UnixNano(), t.next.Load()
	if now < next || !t.next.CompareAndSwap(next, now+int64(time.Second)) {
		t.silent.Add(1)
		return
	}
	t.log.Warn("call failed", slog.String("error", inv.Error), slog.String("code", string(inv.Code)),
		slog.String("app", inv.App), slog.String("function", inv.Function), slog.String("request_id", inv.ID),
		slog.Int64("more_before", t.silent.Swap(0)))
}
