package broker

import (
	"context"
	"errors"

	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/internal/share"
)

// storeShares divide the calls of the key-value store that wait for the few connections
// of the node. An app with many calls takes its share of the queue, and a call of an
// app that has none waits for a few others only.
var storeShares = share.Options{Total: 16, Each: []int{6}, Kept: 6, Waiting: 1024, Queue: 4096}

// inTurn makes a call of the key-value store wait for its app's turn.
func (b *Broker) inTurn(work run) run {
	return func(ctx context.Context, g *Grants, call *executor.HostCall) ([]byte, error) {
		leave, err := b.turns.Wait(ctx, g.app.App)
		if errors.Is(err, share.ErrFull) {
			return nil, hostcall.Errorf(hostcall.CodeBusy, "too many calls, of this app or of all, wait for the key-value store")
		}
		if err != nil {
			return nil, unavailable()
		}
		defer leave()
		return work(ctx, g, call)
	}
}
