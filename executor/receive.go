package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/executor/spawn"
	"github.com/picloud/picloud/executor/wire"
)

// The bounds of what workers send besides answers.
const (
	maxHello  = 8 << 10
	maxLoaded = 32 << 10
	maxReply  = 32 << 10 // a Failure
)

// read receives the worker's frames until the conversation ends, and then finishes
// the worker. It trusts no frame: each must be of a type that workers send, about a
// call or a load that is under way, and within its limits. Any other frame ends the
// worker.
func (w *worker) read() {
	defer w.exec.unregister(w)
	reader := wire.NewReader(w.socket, w.admit)
	reader.Charge(w.transit)
	defer reader.Close()
	for {
		h, payload, err := reader.Next()
		if err == nil {
			err = w.receive(h, payload, reader)
		}
		if err != nil {
			w.finish(err)
			return
		}
	}
}

// foreign is the error of a frame that a worker may not send now.
func foreign(h wire.Header, what string) error {
	return fmt.Errorf("%s frame %d: %s: %w", h.Type, h.ID, what, wire.ErrMalformed)
}

// admit decides about a frame by its header, before memory is allocated for it.
func (w *worker) admit(h wire.Header) (limit int, err error) {
	if !w.hello && h.Type != wire.TypeHello {
		return 0, foreign(h, "before hello")
	}
	switch h.Type {
	case wire.TypeHello:
		if w.hello || h.ID != 0 {
			return 0, foreign(h, "a second hello")
		}
		return maxHello, nil
	case wire.TypeLoaded:
		return maxLoaded, nil
	case wire.TypeResult, wire.TypeFailure, wire.TypeLog, wire.TypeHostCall:
	default:
		return 0, foreign(h, "not a worker's")
	}
	w.mu.Lock()
	fl := w.find(h.ID)
	w.mu.Unlock()
	if fl == nil {
		return 0, foreign(h, "no such call")
	}
	switch h.Type {
	case wire.TypeFailure:
		return maxReply, nil
	case wire.TypeLog:
		return wire.MaxLogMessage + wire.MaxLogFields + 64, nil
	case wire.TypeHostCall:
		return hostcall.MaxArguments, nil
	}
	// A little more than the limit, so that a body that is just over it is told
	// to the caller instead of ending the worker.
	return int(fl.function.program.Limits.ResponseBody) + wire.MaxHeaderBytes + 4096, nil
}

// receive handles one frame. Only this goroutine takes flights out of the table, so
// the flight that admit found is still there.
func (w *worker) receive(h wire.Header, payload []byte, reader *wire.Reader) error {
	switch h.Type {
	case wire.TypeResult, wire.TypeFailure:
		return w.answer(h, reader)
	case wire.TypeLog:
		return w.logged(h, payload)
	case wire.TypeHostCall:
		return w.hostCall(h, payload, reader)
	case wire.TypeLoaded:
		return w.loaded(h, payload)
	}
	return w.checkHello(payload)
}

// answer gives a call its answer.
func (w *worker) answer(h wire.Header, reader *wire.Reader) error {
	now := w.exec.now()
	w.mu.Lock()
	fl := w.find(h.ID)
	if fl == nil {
		w.mu.Unlock()
		return foreign(h, "no such call")
	}
	w.table[uint32(h.ID)] = nil
	w.free = append(w.free, uint32(h.ID))
	cancel := fl.cancel
	awaited := !fl.abandoned
	if awaited {
		switch {
		case fl.deadline <= now:
			fl.err = timedOut(fl)
		case reader.Cut():
			fl.err = w.exec.noRoom(int64(h.Length))
		default:
			fl.answer, fl.payload = h.Type, reader.Take()
		}
	}
	if fl.asking > 0 { // the worker answered without waiting for the host
		fl.asking = 0
		w.waiting.Add(-1)
	}
	w.settle(fl)
	left := w.busy.Add(-1)
	w.pace(now)
	if left == 0 {
		w.rest(now)
	} else {
		w.endDrained()
	}
	w.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if awaited {
		fl.done <- struct{}{}
	} else if w.pool != nil {
		fl.function.releasePlace()
	}
	fl.drop()
	if p := w.pool; p != nil && p.breaker.answered() {
		p.mu.Lock()
		p.breaker.close()
		p.mu.Unlock()
	}
	return nil
}

// pace notes that a call ended, or waits for the host. The caller holds mu.
func (w *worker) pace(now int64) {
	w.share.ended++
	if w.running() <= 0 {
		w.rested = now
	}
	step := now - w.progress.Load()
	average := w.interval.Load()
	w.interval.Store(average + (step-average)/8)
	w.progress.Store(now)
}

// rest arms the watch for what is due when the last call has ended. The caller
// holds mu.
func (w *worker) rest(now int64) {
	w.last.Store(now)
	w.endDrained()
	w.exec.watch.arm(now + int64(w.exec.opts.IdleTimeout))
}

// checkHello checks the worker's first frame: its protocol version and its sandbox.
func (w *worker) checkHello(payload []byte) error {
	var hello wire.Hello
	if err := hello.Decode(payload); err != nil {
		return err
	}
	if hello.Version != wire.Version {
		w.kill(causeSandbox)
		return fmt.Errorf("the worker speaks version %d of the protocol, not %d", hello.Version, wire.Version)
	}
	if lacks := w.exec.spawner.Lacks(hello.Layers); len(lacks) > 0 {
		w.kill(causeSandbox)
		return fmt.Errorf("the worker runs without %s of its sandbox", sandbox.DescribeLacks(lacks))
	}
	w.hello, w.layers = true, hello.Layers
	return nil
}

// loaded ends the oldest load.
func (w *worker) loaded(h wire.Header, payload []byte) error {
	var answer wire.Loaded
	if err := answer.Decode(payload); err != nil {
		return err
	}
	w.mu.Lock()
	if len(w.loading) == 0 || uint64(w.loading[0].slot) != h.ID {
		w.mu.Unlock()
		return foreign(h, "no such load")
	}
	l := w.loading[0]
	w.loading = w.loading[1:]
	ok := answer.Reason == wire.ReasonNone
	if w.programs[l.slot].function == l.function {
		w.programs[l.slot] = loaded{function: l.function, ready: ok, failed: !ok}
	}
	now := w.exec.now()
	w.progress.Store(now)
	w.warm.Store(true)
	first := int64(never)
	for _, fl := range w.table {
		if fl != nil && fl.loading && fl.function == l.function {
			fl.loading = false
			fl.deadline = now + fl.timeout
			fl.due = fl.deadline
			if fl.abandoned {
				fl.due = now + cancelGrace
			}
			first = min(first, fl.due)
		}
	}
	w.mu.Unlock()
	w.exec.watch.arm(first)
	if !ok {
		l.function.failure.Store(&answer)
	}
	if w.loads != nil {
		select {
		case w.loads <- answer:
		default:
		}
	}
	return nil
}

// finish cleans up after a worker whose conversation ended with err: it reaps the
// process, returns the reserved memory, and answers the calls that are left.
func (w *worker) finish(err error) {
	w.mu.Lock()
	w.open.Store(false)
	w.clearOverdue()
	byItself := !w.dead.Swap(true)
	w.mu.Unlock()
	w.cancel()
	w.frames.Close(errEnded)
	death := w.process.Reap()
	_ = w.socket.Close()
	w.mu.Lock()
	if byItself {
		switch {
		case errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTooLong):
			w.why = causeProtocol
		case death.OutOfMemory(w.memory):
			w.why = causeMemory
		case !w.hello:
			w.why = causeSandbox
		default:
			w.why = causeCrash
		}
	}
	why := w.why
	table := w.table
	last := w.failureOf(why)
	w.table, w.free = nil, nil
	w.mu.Unlock()

	// Budget and pool come first: a caller that gets its error may call again at once.
	w.freed.Store(true)
	w.exec.capacity.release(w.memory)
	w.exec.metrics.ended(w, why)
	if p := w.pool; p != nil {
		if w.share.hot != 0 && (why == causeTimeout || why.counts()) {
			p.spun.Store(w.exec.now())
		}
		p.remove(w, why)
	}
	for _, fl := range table {
		if fl == nil {
			continue
		}
		if fl.cancel != nil {
			fl.cancel()
		}
		if !fl.abandoned {
			fl.err = last.errorFor(fl)
			fl.done <- struct{}{}
		} else if w.exec.metrics.abandoned.Dec(); w.pool != nil {
			fl.function.releasePlace()
		}
		fl.drop()
	}
	w.hosts.Wait()
	w.report(why, death, err)
	if p := w.pool; p != nil {
		p.mu.Lock()
		p.releaseUID()
		p.mu.Unlock()
	}
	close(w.ended)
}

// report logs how a worker ended.
func (w *worker) report(why cause, death spawn.Death, err error) {
	attrs := []slog.Attr{slog.String("app", w.app), slog.String("cause", why.String()), slog.Int("pid", w.process.PID())}
	if !why.counts() && why != causeTimeout {
		w.exec.log.LogAttrs(context.Background(), slog.LevelDebug, "executor ended", attrs...)
		return
	}
	if err != nil && !errors.Is(err, io.EOF) {
		attrs = append(attrs, slog.Any("error", err))
	}
	if by := w.culprit; by.function != nil && why == causeTimeout {
		attrs = append(attrs, slog.String("function", by.function.program.Function), slog.String("request_id", by.call))
		if by.left && w.sink != nil {
			w.sink.Log(w.app, by.record())
		}
	}
	attrs = append(attrs, slog.String("status", death.String()))
	w.exec.log.LogAttrs(context.Background(), slog.LevelWarn, "an app's executor ended", attrs...)
	if death.Stderr == "" {
		return
	}
	// What the process wrote is for the app: it can hold what the app's calls worked on.
	// The node's log has the line above. It has the reason only for whoever looks for a
	// fault of the executor itself. A worker that ran out of memory says nothing of use.
	w.exec.log.LogAttrs(context.Background(), slog.LevelDebug, "an app's executor ended: its last words",
		slog.String("app", w.app), slog.Int("pid", w.process.PID()), slog.String("reason", death.Reason()))
	if w.sink != nil && why == causeCrash {
		w.sink.Log(w.app, picloud.LogRecord{
			Time: time.Now().UTC(), Level: wire.LevelError.String(), Message: "the executor ended: " + death.Reason(),
		})
	}
}
