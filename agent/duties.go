package agent

import (
	"context"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
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
	<-ctx.Done()
	if err := context.Cause(ctx); picloud.CodeOf(err) == picloud.CodeDeposed {
		return err
	}
	return nil
}
