package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/service"
	"github.com/picloud/picloud/manager/housekeeping"
)

// reign is a leadership of this node, while its duties run.
type reign struct {
	epoch int64
	end   context.CancelCauseFunc
}

// managesUnder is the epoch under which this node manages its cluster now. A node that is
// alone needs none.
func (a *Agent) managesUnder() int64 {
	if !a.cluster.Member() {
		return postgres.Alone
	}
	if epoch := a.election.epoch.Load(); epoch > 0 {
		return epoch
	}
	return postgres.NoManager
}

// deposed ends the duties of an epoch that the database refused: this node is the last one
// to hear that another one manages the cluster.
func (a *Agent) deposed(epoch int64) {
	if r := a.reign.Load(); r != nil && r.epoch == epoch {
		r.end(postgres.About("manage the cluster", "").Deposed())
	}
}

// perform does what the manager does under an epoch until ctx ends. It returns earlier, with
// picloud.CodeDeposed, when the database says that the epoch is over.
func (a *Agent) perform(ctx context.Context, epoch int64) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	r := &reign{epoch, end}
	a.reign.Store(r)
	defer a.reign.CompareAndSwap(r, nil) // a newer one may have begun
	err := housekeeping.Run(ctx, epoch, a.duties(), a.log)
	if cause := context.Cause(ctx); picloud.CodeOf(cause) == picloud.CodeDeposed {
		return cause
	}
	return err
}

// performAlone is perform for a node that is alone, until it is not.
func (a *Agent) performAlone(ctx context.Context) {
	if a.cluster.Member() {
		return
	}
	duties := a.duties()
	for i, d := range duties {
		duties[i].Do = func(ctx context.Context, epoch int64) error {
			if a.cluster.Member() {
				return postgres.About(d.Name, "").Deposed() // the cluster elects its manager from now on
			}
			return d.Do(ctx, epoch)
		}
	}
	if err := housekeeping.Run(ctx, postgres.Alone, duties, a.log); err != nil {
		a.log.Debug("this node is not alone any more: its housekeeping is the manager's", slog.Any("error", err))
	}
}

// housekeepingAlone is what a node that is alone does as its own manager.
func (a *Agent) housekeepingAlone() service.Service {
	var task *service.Task
	return service.Service{
		Name:  "housekeeping",
		Start: func() error { task = service.Go(context.Background(), a.performAlone); return nil },
		Stop:  func() { task.Stop() },
	}
}

// duties are what the manager does from time to time. Each statement of them carries the
// epoch. internal/postgres/DESIGN.md has the bound of each table.
func (a *Agent) duties() []housekeeping.Duty {
	d := a.database
	return []housekeeping.Duty{
		a.removal("remove expired keys", time.Hour, d.KV().Sweep),
		a.removal("remove old versions", 24*time.Hour, d.Versions().Prune),
		a.removal("forget removed nodes", 24*time.Hour, d.Nodes().Forget),
	}
}

// removal is a duty that removes rows of a table, and logs how many.
func (a *Agent) removal(name string, every time.Duration, remove func(ctx context.Context, epoch int64) (int64, error)) housekeeping.Duty {
	return housekeeping.Duty{Name: name, Every: every, Do: func(ctx context.Context, epoch int64) error {
		n, err := remove(ctx, epoch)
		if n > 0 {
			a.log.Info("the database was tidied up", slog.String("duty", name), slog.Int64("rows", n))
		}
		return err
	}}
}
