package port

import (
	"log/slog"
	"sync"
	"time"

	"github.com/picloud/picloud"
)

// logEvery is how often refused connections are logged at most.
const logEvery = time.Minute

// maxReason bounds what is logged of a reason, in bytes.
const maxReason = 300

// refusals counts the connections that were not let in, and logs the first of each
// minute: a stranger can make any number of them.
type refusals struct {
	logger *slog.Logger
	mu     sync.Mutex
	count  int
	logged time.Time
}

func (r *refusals) add(from string, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	if !r.logged.IsZero() && time.Since(r.logged) < logEvery {
		return
	}
	r.logger.Warn("the cluster port refused connections", slog.Int("since_last_line", r.count), slog.String("last_from", from), slog.String("last_reason", picloud.Shorten(why.Error(), maxReason)))
	r.count, r.logged = 0, time.Now()
}
