package caddymodule

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// handoverTime is how long the servers of the old configuration go on serving
// the connections that they have, before Caddy stops them.
const handoverTime = 100 * time.Millisecond

// handover moves clients from one configuration to the next on a reload.
//
// net/http drops a request that it reads after Shutdown has begun. So before Caddy
// calls Shutdown, the old configuration stops accepting connections. For a moment
// it still serves the connections that it has, and tells their clients to open a new
// one (Connection: close). Then Caddy closes idle connections, as HTTP/1.1 allows.
type handover struct {
	leaving atomic.Bool

	mu        sync.Mutex
	listeners []*sharedListener
}

// add notes a listener of this configuration.
func (h *handover) add(l *sharedListener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners = append(h.listeners, l)
}

// begin hands over; it takes handoverTime, or less when ctx ends.
func (h *handover) begin(ctx context.Context) {
	h.mu.Lock()
	listeners := h.listeners
	h.mu.Unlock()
	if len(listeners) == 0 {
		return
	}
	for _, l := range listeners {
		l.pause()
	}
	h.leaving.Store(true)
	wait := time.NewTimer(handoverTime)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// tell makes the answer the last one on its connection when the configuration
// is leaving.
func (h *handover) tell(w http.ResponseWriter) {
	if h.leaving.Load() {
		w.Header()["Connection"] = valueClose
	}
}

var valueClose = []string{"close"}
