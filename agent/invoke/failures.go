package invoke

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
)

// failures tells the node's log about calls that the node, not the function,
// failed: callers do not learn the cause, and the function's log is its owner's. It
// writes one line a second at most, since such failures come in floods.
type failures struct {
	log    *slog.Logger
	next   atomic.Int64 // unix nanoseconds before which nothing is logged
	silent atomic.Int64 // failures since the last line
}

func (f *failures) note(inv *picloud.Invocation) {
	now, next := time.Now().UnixNano(), f.next.Load()
	if now < next || !f.next.CompareAndSwap(next, now+int64(time.Second)) {
		f.silent.Add(1)
		return
	}
	f.log.Warn("call failed", slog.String("error", inv.Error), slog.String("code", string(inv.Code)),
		slog.String("app", inv.App), slog.String("function", inv.Function), slog.String("request_id", inv.ID),
		slog.Int64("more_before", f.silent.Swap(0)))
}
