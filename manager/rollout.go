package manager

import (
	"context"
	"log/slog"
	"time"

	"github.com/picloud/picloud"
)

// Rollout is what making a version live led to.
type Rollout struct {
	picloud.Rollout
	Acks    picloud.Acks
	Timings Timings
}

// Activate makes an existing version live and waits for the nodes as wait says.
func (m *Manager) Activate(ctx context.Context, actor picloud.Actor, app, function string, version int, wait picloud.Wait) (Rollout, error) {
	return m.rollOut(ctx, wait, func() (picloud.Rollout, error) {
		return m.o.Deployments.Deploy(ctx, actor, app, function, version)
	})
}

// Rollback makes version to live; 0: one further back than what is live.
func (m *Manager) Rollback(ctx context.Context, actor picloud.Actor, app, function string, to int, wait picloud.Wait) (Rollout, error) {
	return m.rollOut(ctx, wait, func() (picloud.Rollout, error) {
		return m.o.Deployments.Rollback(ctx, actor, app, function, to)
	})
}

func (m *Manager) rollOut(ctx context.Context, wait picloud.Wait, commit func() (picloud.Rollout, error)) (Rollout, error) {
	start := time.Now()
	d, err := commit()
	if err != nil {
		return Rollout{}, err
	}
	r := Rollout{Rollout: d, Timings: Timings{Publish: time.Since(start)}}
	awaited := time.Now()
	r.Acks = m.Await(ctx, d.Rev, wait)
	r.Timings.Await, r.Timings.Total = time.Since(awaited), time.Since(start)
	return r, nil
}

// Await waits until the nodes that wait names serve rev, at most
// Options.AwaitTimeout, and says who serves it (read-your-writes: who has
// changed a setting and then calls the function expects the new one). What is
// committed stays committed, so a fleet that cannot say is an incomplete
// acknowledgement and never an error.
func (m *Manager) Await(ctx context.Context, rev int64, wait picloud.Wait) picloud.Acks {
	ctx, cancel := context.WithTimeout(ctx, m.o.AwaitTimeout)
	defer cancel()
	acks, err := m.o.Fleet.Await(ctx, rev, wait)
	if err != nil {
		m.log.Warn("nodes did not say whether they serve the change", slog.Int64("rev", rev), slog.Any("error", err))
		acks.Complete = false
	}
	acks.Rev = rev
	if acks.Nodes == nil {
		acks.Nodes = []string{}
	}
	if acks.Missing == nil {
		acks.Missing = []string{}
	}
	return acks
}
