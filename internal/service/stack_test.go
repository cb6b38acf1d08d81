package service

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDownStopsTheNewestFirst(t *testing.T) {
	var s Stack
	var said []string
	for _, name := range []string{"logs", "executor", "replica"} {
		require.NoError(t, s.Up(Service{name, func() error { said = append(said, "+"+name); return nil }, func() { said = append(said, "-"+name) }}))
	}
	require.Equal(t, []string{"logs", "executor", "replica"}, s.Names())
	s.Down()
	s.Down()
	require.Equal(t, []string{"+logs", "+executor", "+replica", "-replica", "-executor", "-logs"}, said)
	require.Empty(t, s.Names())
}

func TestAFailedServiceIsNamedAndNotStopped(t *testing.T) {
	var s Stack
	stopped := ""
	require.NoError(t, s.Up(Service{Name: "logs", Stop: func() { stopped += "logs" }}, Service{Name: "nothing"}))
	cause := errors.New("disk full")
	err := s.Up(Service{"executor", func() error { return cause }, func() { stopped += "executor" }}, Service{"replica", func() error { stopped += "replica"; return nil }, nil})
	require.ErrorIs(t, err, cause)
	require.ErrorContains(t, err, "start executor")
	s.Down()
	require.Equal(t, "logs", stopped)
}

func TestStopWaitsForTheTask(t *testing.T) {
	ended := false
	task := Go(t.Context(), func(ctx context.Context) {
		<-ctx.Done()
		ended = true
	})
	task.Stop()
	require.True(t, ended)
	<-task.Done()
	task.Stop()
	(*Task)(nil).Stop()
}
