// Package housekeeping does from time to time what keeps the database small, as long as a
// node manages its cluster.
package housekeeping

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/picloud/picloud"
)

const (
	// first is when a duty runs first: between this and twice of it after the leadership
	// began. A leadership that is soon over costs nothing, and the duties of one that lasts
	// do not begin all at once.
	first = 5 * time.Minute
	// again is the longest wait after a failure.
	again = 10 * time.Minute
)

// Duty is one thing that the manager does from time to time.
type Duty struct {
	// Name says what it does, in the log: "remove expired keys".
	Name string
	// Every is the time from the end of a run to the next one, give or take a tenth.
	Every time.Duration
	// Do does it once, under the epoch of the leadership. It proves the epoch in each of its
	// statements, and returns within a second after ctx ended. It returns an error with
	// picloud.CodeDeposed when the epoch is over.
	Do func(ctx context.Context, epoch int64) error
}

// Run performs the duties, one at a time, until ctx ends. It returns nil then, and earlier only
// with picloud.CodeDeposed, when a duty finds that the epoch is over. Other failures are
// logged, and their duty is tried again.
func Run(ctx context.Context, epoch int64, duties []Duty, log *slog.Logger) error {
	if len(duties) == 0 {
		<-ctx.Done()
		return nil
	}
	plan := make([]*planned, len(duties))
	for i, d := range duties {
		plan[i] = &planned{d, time.Now().Add(first + rand.N(first))}
	}
	for {
		next := slices.MinFunc(plan, func(a, b *planned) int { return a.due.Compare(b.due) })
		timer := time.NewTimer(time.Until(next.due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		err := next.Do(ctx, epoch)
		pause := next.Every - next.Every/10 + rand.N(next.Every/5+1)
		switch {
		case ctx.Err() != nil:
			return nil
		case picloud.CodeOf(err) == picloud.CodeDeposed:
			return err
		case err != nil:
			pause = min(pause, again)
			log.Warn("a duty of the manager failed; it is tried again", slog.String("duty", next.Name), slog.Duration("in", pause), slog.Any("error", err))
		}
		next.due = time.Now().Add(pause)
	}
}

// planned is a duty with the time of its next run.
type planned struct {
	Duty
	due time.Time
}
