package housekeeping

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An idle cluster is asked about once an hour: a day of the manager costs so many statements.
func TestDutiesRunAtTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		hours, days, firstRun := 0, 0, time.Duration(0)
		var epochs []int64
		done := make(chan error)
		go func() {
			done <- Run(ctx, 7, []Duty{
				{Name: "hourly", Every: time.Hour, Do: func(_ context.Context, epoch int64) error {
					if hours++; hours == 1 {
						firstRun = time.Since(began)
					}
					epochs = append(epochs, epoch)
					return nil
				}},
				{Name: "daily", Every: 24 * time.Hour, Do: func(context.Context, int64) error { days++; return nil }},
			}, slog.New(slog.DiscardHandler))
		}()
		<-time.After(7 * 24 * time.Hour)
		cancel()
		require.NoError(t, <-done)
		require.GreaterOrEqual(t, firstRun, first, "a leadership that is soon over costs nothing")
		require.Less(t, firstRun, 2*first)
		require.InDelta(t, 7*24, hours, 7)
		require.InDelta(t, 7, days, 1)
		require.Equal(t, []int64{7}, slices.Compact(epochs))
	})
}

// A duty that fails is tried again soon, and does not keep the others from their turn.
func TestAFailureIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		failed, others := 0, 0
		var log bytes.Buffer
		done := make(chan error)
		go func() {
			done <- Run(ctx, 1, []Duty{
				{Name: "remove things", Every: 24 * time.Hour, Do: func(context.Context, int64) error {
					if failed++; failed < 4 {
						return errors.New("the disk is full")
					}
					return nil
				}},
				{Name: "others", Every: 24 * time.Hour, Do: func(context.Context, int64) error { others++; return nil }},
			}, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		<-time.After(time.Hour)
		cancel()
		require.NoError(t, <-done)
		require.Equal(t, 4, failed)
		require.Equal(t, 1, others)
		require.Equal(t, 3, bytes.Count(log.Bytes(), []byte("the disk is full")))
		require.Contains(t, log.String(), "remove things")
	})
}

func TestADeposedManagerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		err := Run(t.Context(), 1, []Duty{{Name: "x", Every: time.Hour, Do: func(context.Context, int64) error {
			runs++
			return &picloud.Error{Code: picloud.CodeDeposed}
		}}}, slog.New(slog.DiscardHandler))
		require.Equal(t, picloud.CodeDeposed, picloud.CodeOf(err))
		require.Equal(t, 1, runs)
	})
}

// The end of the leadership ends a duty in the middle, a wait, and a list without duties.
func TestTheEndOfTheLeadershipEndsTheDuties(t *testing.T) {
	for name, c := range map[string]struct {
		duties []Duty
		after  time.Duration
	}{
		"waiting":   {[]Duty{{Name: "x", Every: time.Hour, Do: func(context.Context, int64) error { return nil }}}, time.Minute},
		"in a duty": {[]Duty{{Name: "x", Every: time.Hour, Do: func(ctx context.Context, _ int64) error { <-ctx.Done(); return ctx.Err() }}}, time.Hour},
		"none":      {nil, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- Run(ctx, 1, c.duties, slog.New(slog.DiscardHandler)) }()
				<-time.After(c.after)
				ended := time.Now()
				cancel()
				require.NoError(t, <-done)
				require.Zero(t, time.Since(ended))
			})
		})
	}
}
