// Package service starts the parts of a node one after the other, and stops them
// in the reverse order.
package service

import (
	"context"
	"fmt"
	"sync"
)

// Stack is a list of running services, the newest last. The zero value is empty
// and ready. It is safe for concurrent use: Up and Down exclude each other.
//
// The idea is that of Alertmanager's named cleanups: a service is one line, and
// its stop stands beside its start.
type Stack struct {
	mu   sync.Mutex
	list []running
}

// running is a service that was started.
type running struct {
	name string
	stop func()
}

// Up starts a service and remembers how to stop it. A nil start does nothing; a
// nil stop says that there is nothing to end. When start fails, the error says
// which service it was, nothing is remembered, and what was started before runs
// on: the caller decides whether to call Down.
func (s *Stack) Up(name string, start func() error, stop func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if start != nil {
		if err := start(); err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
	}
	if stop != nil {
		s.list = append(s.list, running{name, stop})
	}
	return nil
}

// Down stops the services, the newest first, and blocks until the last one has
// ended. Afterwards the stack is empty. Services must end in bounded time.
func (s *Stack) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.list) > 0 {
		last := len(s.list) - 1
		stop := s.list[last].stop
		s.list = s.list[:last]
		stop()
	}
}

// Names lists what runs, the oldest first.
func (s *Stack) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, len(s.list))
	for i, r := range s.list {
		names[i] = r.name
	}
	return names
}

// Task is a service that is one goroutine.
type Task struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// Go runs work in a goroutine of its own until Stop. Work must return soon after
// its context ends.
func Go(ctx context.Context, work func(ctx context.Context)) *Task {
	ctx, cancel := context.WithCancel(ctx)
	t := &Task{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		work(ctx)
	}()
	return t
}

// Stop ends the task's context and waits until its work has returned. Further
// calls return at once, and so does a call on nil.
func (t *Task) Stop() {
	if t == nil {
		return
	}
	t.cancel()
	<-t.done
}

// Done is closed when the work has returned.
func (t *Task) Done() <-chan struct{} { return t.done }
