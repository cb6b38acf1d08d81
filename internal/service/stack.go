// Package service starts the parts of a node one after the other, and stops them
// in the reverse order.
package service

import (
	"context"
	"fmt"
	"sync"
)

// Service is a part of a node that is started once and stopped once.
type Service struct {
	// Name says what it is, in errors.
	Name string
	// Start brings it up. Nil: there is nothing to do.
	Start func() error
	// Stop ends it and blocks until it has ended, in bounded time. Nil: there is
	// nothing to end. It is only called when Start succeeded.
	Stop func()
}

// Stack is a list of running services, the newest last. The zero value is empty
// and ready. It is safe for concurrent use: Up and Down exclude each other.
//
// The idea is that of Alertmanager's named cleanups: a service is one line, and
// its stop stands beside its start.
type Stack struct {
	mu   sync.Mutex
	list []Service
}

// Up starts services one after the other. When a service does not start, the error
// names it, the services behind it are not started, and those before it run on:
// the caller decides whether to call Down.
func (s *Stack) Up(services ...Service) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range services {
		if one.Start != nil {
			if err := one.Start(); err != nil {
				return fmt.Errorf("start %s: %w", one.Name, err)
			}
		}
		s.list = append(s.list, one)
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
		stop := s.list[last].Stop
		s.list = s.list[:last]
		if stop != nil {
			stop()
		}
	}
}

// Names lists what runs, the oldest first.
func (s *Stack) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, len(s.list))
	for i, r := range s.list {
		names[i] = r.Name
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
