package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/problem"
)

// writeTimeout is how long a reader may take for one write before the stream
// is cut.
const writeTimeout = 30 * time.Second

// stream is a followed log as server-sent events: `log` for each record, a
// comment as heartbeat, `end` with a problem when the node ends it.
type stream struct {
	ctx       context.Context // ends when the reader goes away; of this answer only
	cancel    context.CancelFunc
	feed      <-chan picloud.LogRecord // closed when the node drains or ctx ends
	backlog   []picloud.LogRecord      // read after feed began
	since     time.Time
	requestID string
	heartbeat time.Duration
	allowed   func() error // an error: the reader may not read on

	w  http.ResponseWriter
	rc *http.ResponseController
}

func (s *stream) send(w http.ResponseWriter) error {
	s.w, s.rc = w, http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	defer s.rc.SetWriteDeadline(time.Time{}) //nolint:errcheck // the connection may serve on; if it is closed, it may not
	if err := s.write(": connected\n\n"); err != nil {
		return err
	}
	seen := map[string]bool{} // of the backlog: they may come once more by the feed
	for _, record := range s.backlog {
		seen[key(record)] = true
		if err := s.event("log", record); err != nil {
			return err
		}
	}
	s.backlog = nil
	return s.pump(seen)
}

func (s *stream) pump(seen map[string]bool) error {
	beat := time.NewTicker(s.heartbeat)
	defer beat.Stop()
	for {
		select {
		case record, more := <-s.feed:
			if !more {
				return s.end(&picloud.Error{Code: picloud.CodeDraining})
			}
			if record.Time.Before(s.since) || len(seen) > 0 && seen[key(record)] {
				continue
			}
			if err := s.event("log", record); err != nil {
				return err
			}
		case <-beat.C:
			seen = nil // whatever was read twice has come by now
			if err := s.allowed(); err != nil {
				return s.end(err)
			}
			if err := s.write(": alive\n\n"); err != nil {
				return err
			}
		case <-s.ctx.Done():
			return nil
		}
	}
}

// end tells the reader why there is no more, if it is still there.
func (s *stream) end(reason error) error {
	if s.ctx.Err() != nil {
		return nil
	}
	return s.event("end", problem.Of(reason, s.requestID))
}

func (s *stream) event(name string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode event %q: %w", name, err)
	}
	return s.write("event: " + name + "\ndata: " + string(b) + "\n\n")
}

func (s *stream) write(text string) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // where the connection knows deadlines
	if _, err := s.w.Write([]byte(text)); err != nil {
		return fmt.Errorf("send event: %w", err)
	}
	if err := s.rc.Flush(); err != nil {
		return fmt.Errorf("flush event: %w", err)
	}
	return nil
}

// key tells records apart.
func key(r picloud.LogRecord) string {
	return r.Time.Format(time.RFC3339Nano) + "\x00" + r.Invocation + "\x00" + r.Message
}
