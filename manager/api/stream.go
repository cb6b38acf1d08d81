package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/problem"
)

const (
	// writeTimeout is how long a reader may take for one write before the stream
	// is cut.
	writeTimeout = 30 * time.Second
	// callPause is how often a stream looks for calls that ended, and how long it holds
	// each of them: longer than a record waits for the file, so that the records of a
	// call come before the call.
	callPause = 250 * time.Millisecond
	// sendAt is the size from which events are sent, in bytes.
	sendAt = 64 << 10
)

// stream is a followed log as server-sent events: `log` for each record, `call` for each
// call, a comment as heartbeat, `end` with a problem when the node ends it.
type stream struct {
	ctx       context.Context // ends when the reader goes away; of this answer only
	end       func()          // gives back what the stream holds
	q         picloud.LogQuery
	next      func(context.Context) ([]picloud.LogLine, error)
	calls     func() (ended []picloud.Invocation, missed int64) // nil: without calls
	held      []picloud.Invocation                              // to be sent, in the order in which they ended
	arrived   func() []picloud.Invocation                       // calls that other nodes served; nil: there are no others
	known     map[string]bool                                   // ids of the calls with which the stream began, until the first look
	began     func()                                            // gives back the memory of those calls, when they are sent
	requestID string
	heartbeat time.Duration
	allowed   func() error // an error: the reader may not read on

	w      http.ResponseWriter
	rc     *http.ResponseController
	events bytes.Buffer // not sent yet
}

func (s *stream) send(w http.ResponseWriter) error {
	s.w, s.rc = w, http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	defer s.rc.SetWriteDeadline(time.Time{}) //nolint:errcheck // the connection may serve on; if it is closed, it may not
	s.events.WriteString(": connected\n\n")
	if err := s.flush(); err != nil {
		return err
	}
	return s.pump()
}

// pump sends what comes until the reader leaves or the node ends the stream.
func (s *stream) pump() error {
	beat, look := time.Now().Add(s.heartbeat), time.Now().Add(callPause)
	ripe := len(s.held) // calls that were held for callPause
	for {
		until := beat
		if s.calls != nil && look.Before(beat) {
			until = look
		}
		lines, err := s.wait(until)
		switch {
		case s.ctx.Err() != nil:
			return nil
		case errors.Is(err, io.EOF):
			return s.finish(s.whyEnded())
		case err != nil:
			return s.finish(err)
		}
		if s.arrived != nil {
			if more := s.arrived(); len(more) > 0 {
				s.held = append(s.held, more...)
				slices.SortStableFunc(s.held, byEnd)
			}
		}
		if err := s.lines(lines, &ripe); err != nil {
			return err
		}
		if now := time.Now(); s.calls != nil && !now.Before(look) {
			look = now.Add(callPause)
			if err := s.look(&ripe); err != nil {
				return err
			}
		}
		if !time.Now().Before(beat) {
			beat = time.Now().Add(s.heartbeat)
			if err := s.allowed(); err != nil {
				return s.finish(err)
			}
			s.events.WriteString(": alive\n\n")
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

// wait returns the next records, or none when the time has come.
func (s *stream) wait(until time.Time) ([]picloud.LogLine, error) {
	ctx, cancel := context.WithDeadline(s.ctx, until)
	defer cancel()
	lines, err := s.next(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, nil
	}
	return lines, err
}

// lines sends records, and the calls that ended before each of them.
func (s *stream) lines(lines []picloud.LogLine, ripe *int) error {
	for _, line := range lines {
		n := 0
		for n < len(s.held) && !s.held[n].Ended().After(line.Time) {
			n++
		}
		if err := s.sendCalls(n); err != nil {
			return err
		}
		*ripe = max(*ripe-n, 0)
		if line.Seq > 0 || line.JSON == nil {
			s.events.WriteString("id: " + line.ID() + "\n")
		}
		if line.JSON == nil { // an event without data only sets the position
			s.events.WriteString("\n")
			continue
		}
		if err := s.event("log", line.JSON); err != nil {
			return err
		}
	}
	return nil
}

// look sends the calls that were held long enough, and takes those that ended since.
func (s *stream) look(ripe *int) error {
	if err := s.sendCalls(*ripe); err != nil {
		return err
	}
	ended, missed := s.calls()
	for _, call := range ended {
		if wantsCall(&s.q, &call) && !s.known[call.ID] {
			s.held = append(s.held, call)
		}
	}
	if s.known != nil {
		s.known = nil
		s.began()
	}
	slices.SortStableFunc(s.held, byEnd)
	*ripe = len(s.held)
	if missed == 0 {
		return nil
	}
	return s.object("log", picloud.LogRecord{
		Time: time.Now().UTC(), Level: "warn", Missing: missed,
		Message: fmt.Sprintf("%d calls are missing here: the node remembers the newest 1,000 of each function", missed),
	})
}

func (s *stream) sendCalls(n int) error {
	for _, call := range s.held[:n] {
		if err := s.object("call", call); err != nil {
			return err
		}
	}
	s.held = s.held[n:]
	return nil
}

// whyEnded says why there are no more records: the app is gone, or the node drains.
func (s *stream) whyEnded() error {
	if err := s.allowed(); err != nil {
		return err
	}
	return &picloud.Error{Code: picloud.CodeDraining}
}

// finish tells the reader why there is no more, if it is still there.
func (s *stream) finish(reason error) error {
	if s.ctx.Err() != nil {
		return nil
	}
	if err := s.sendCalls(len(s.held)); err != nil {
		return err
	}
	if err := s.object("end", problem.Of(reason, s.requestID)); err != nil {
		return err
	}
	return s.flush()
}

func (s *stream) object(name string, data any) error {
	text, err := jsonOf(data)
	if err != nil {
		return err
	}
	return s.event(name, text)
}

// event adds an event, and sends what is there when that is much. Long data is sent from
// where it is.
func (s *stream) event(name string, data []byte) error {
	s.events.WriteString("event: " + name + "\ndata: ")
	if len(data) < sendAt {
		s.events.Write(data)
	} else if err := s.sendLong(data); err != nil {
		return err
	}
	s.events.WriteString("\n\n")
	if s.events.Len() < sendAt {
		return nil
	}
	return s.flush()
}

func (s *stream) sendLong(data []byte) error {
	if err := s.write(s.events.Bytes()); err != nil {
		return err
	}
	s.events.Reset()
	return s.write(data)
}

// write sends text. A reader that does not take it in time is cut off.
func (s *stream) write(text []byte) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // where the connection knows deadlines
	if _, err := s.w.Write(text); err != nil {
		return fmt.Errorf("send events: %w", err)
	}
	return nil
}

// flush sends what was added.
func (s *stream) flush() error {
	if s.events.Len() == 0 {
		return nil
	}
	if err := s.write(s.events.Bytes()); err != nil {
		return err
	}
	s.events.Reset()
	if err := s.rc.Flush(); err != nil {
		return fmt.Errorf("flush events: %w", err)
	}
	return nil
}

func jsonOf(data any) ([]byte, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("encode for a stream: %w", err)
	}
	return text, nil
}
