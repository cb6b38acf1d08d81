package managed

import (
	"context"
	"log/slog"
	"time"
)

// watch restarts the server when it ends, and keeps its log small.
func (s *Server) watch(ctx context.Context, proc *process) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			proc.detach()
			return
		case <-tick.C:
			if err := truncate(s.logPath); err != nil {
				s.log.WarnContext(ctx, "log of managed PostgreSQL cannot be cut", slog.Any("error", err))
			}
		case <-proc.gone:
			s.log.ErrorContext(ctx, "managed PostgreSQL ended, restarting it", slog.Int("pid", proc.pid), slog.String("log", tail(s.logPath, 0)))
			if proc = s.restart(ctx); proc == nil {
				return
			}
		}
	}
}

const (
	backoffMin = 250 * time.Millisecond
	backoffMax = 30 * time.Second
	// recoveryTime bounds one attempt to come up: replaying the log after a
	// crash takes minutes on a slow card.
	recoveryTime = 15 * time.Minute
)

// restart brings the server up again, however often it takes. It returns nil
// when ctx ended first.
func (s *Server) restart(ctx context.Context) *process {
	pause := backoffMin
	for {
		attempt, cancel := context.WithTimeout(ctx, recoveryTime)
		proc, err := s.bringUp(attempt)
		cancel()
		if err == nil {
			s.log.InfoContext(ctx, "managed PostgreSQL is back", slog.Int("pid", proc.pid))
			return proc
		}
		if ctx.Err() == nil {
			s.log.ErrorContext(ctx, "managed PostgreSQL does not start", slog.Any("error", err), slog.Duration("retry_in", pause))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, backoffMax)
	}
}
