package broker

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/hostcall"
)

// slowStore holds whoever reads until leave is closed.
type slowStore struct {
	entries
	entered chan struct{}
	leave   chan struct{}
}

func (s *slowStore) Get(context.Context, string, Room) (picloud.KVEntry, bool, error) {
	s.entered <- struct{}{}
	<-s.leave
	return picloud.KVEntry{}, false, nil
}

// TestAnAppLeavesTheStoreToOthers: however many calls of an app are under way, a call of
// another app is not behind them.
func TestAnAppLeavesTheStoreToOthers(t *testing.T) {
	b, _ := newBroker(t, emptyVault(t))
	slow := &slowStore{entered: make(chan struct{}, 100), leave: make(chan struct{})}
	b.UseKeys(func(app string, _ picloud.KVQuota) Store {
		if app == "flood" {
			return slow
		}
		return &entries{}
	})
	flood, quiet := b.Grants("f", picloud.Settings{}, picloud.AppConfig{App: "flood"}), b.Grants("f", picloud.Settings{}, picloud.AppConfig{App: "quiet"})
	args, _, err := hostcall.Parse(hostcall.Get{Key: "k"}.Append(nil))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := b.Call(t.Context(), executor.HostCall{App: "flood", Function: "f", Grants: flood, Name: hostcall.KVGet, Args: args})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range storeShares.Each[0] {
		<-slow.entered
	}
	require.Empty(t, slow.entered, "an app has its share")
	_, err = ask(t, b, quiet, hostcall.KVGet, hostcall.Get{Key: "k"})
	require.NoError(t, err)
	close(slow.leave)
	wg.Wait()
}
