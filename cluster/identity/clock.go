package identity

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/service"
)

// clockEvery is how often the time is written down: 24 small writes a day.
const clockEvery = time.Hour

// released is before every build of this code: the floor when a build does not say
// when it was made.
var released = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

// ClockOptions say what a clock is made of. The zero value of each is its default.
type ClockOptions struct {
	Path   string           // where the time is written down. Empty: nowhere
	Wall   func() time.Time // the machine's clock. Default: time.Now
	Synced func() bool      // whether NTP or the like keeps it right. Default: what the kernel says of its own clock
	Logger *slog.Logger     // default: none
}

// Clock tells the time on machines whose own clock may be wrong: boards without a
// battery start in 1970, or at their last shutdown. It is never before the floor,
// which is the later one of when this build was made and when the node last wrote
// the time down. While the machine's clock is synchronized the latter does not
// count, so that a wrong time in the future is not kept for ever.
//
// It is safe for concurrent use. It never fails: without a file it has a lower floor.
type Clock struct {
	o       ClockOptions
	built   time.Time // the floor of a synchronized clock
	floor   time.Time // the floor of any other
	started time.Time // with monotonic reading: the floor moves on while the node runs
	synced  atomic.Bool
	task    *service.Task
}

// NewClock returns a clock that has read its floor. It can be asked at once.
func NewClock(o ClockOptions) *Clock {
	if o.Synced == nil {
		o.Synced = kernelSynced
		if o.Wall != nil {
			o.Synced = func() bool { return false }
		}
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	built := builtAt()
	c := &Clock{o: o, built: built, floor: built, started: time.Now()}
	if raw, err := os.ReadFile(o.Path); err == nil {
		if kept, err := time.Parse(time.RFC3339, string(raw)); err == nil && kept.After(c.floor) {
			c.floor = kept
		}
	}
	c.synced.Store(o.Synced())
	return c
}

// builtAt returns the time of the commit that this program was built from.
func builtAt() time.Time {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key != "vcs.time" {
				continue
			}
			if at, err := time.Parse(time.RFC3339, setting.Value); err == nil && at.After(released) {
				return at
			}
		}
	}
	return released
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	wall, floor := c.o.Wall(), c.built
	if !c.synced.Load() {
		floor = c.floor.Add(time.Since(c.started))
	}
	if wall.Before(floor) {
		return floor
	}
	return wall
}

// Behind returns by how much the machine's clock is behind the least that the time
// can be. More than zero: the clock of this machine is wrong.
func (c *Clock) Behind() time.Duration { return max(0, c.Now().Sub(c.o.Wall())) }

// Start writes the time down every hour, and looks every minute whether the
// machine's clock has been synchronized, until Stop.
func (c *Clock) Start(ctx context.Context) {
	c.task = service.Go(ctx, func(ctx context.Context) {
		c.write()
		write, look := time.NewTicker(clockEvery), time.NewTicker(time.Minute)
		defer write.Stop()
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				c.write()
				return
			case <-write.C:
				c.write()
			case <-look.C:
				c.synced.Store(c.o.Synced())
			}
		}
	})
}

// Stop writes the time down once more.
func (c *Clock) Stop() { c.task.Stop() }

func (c *Clock) write() {
	if c.o.Path == "" {
		return
	}
	if err := datadir.WriteFile(c.o.Path, []byte(c.Now().UTC().Format(time.RFC3339))); err != nil {
		c.o.Logger.Warn("the time could not be written down for the next start", slog.Any("error", err))
	}
}
