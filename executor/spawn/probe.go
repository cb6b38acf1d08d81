package spawn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/executor/wire"
	"github.com/picloud/picloud/internal/machine"
)

// probeTimeout bounds the start of a worker that only tells of its sandbox.
const probeTimeout = 2 * time.Second

// reprobe is when a caller may try again after the sandbox was not enough.
const reprobe = 10 * time.Second

// maxHello bounds the payload of a worker's first frame.
const maxHello = 8 << 10

// Probe finds out how workers start on this machine, and which sandbox they get. It
// starts a worker for each way until one is enough. It fails when no way is, or
// with the error of ctx when that ends first.
func (s *Spawner) Probe(ctx context.Context) error {
	_, err := s.choose(ctx)
	return err
}

// choose returns the plan to start workers with. While no plan is good enough it
// probes again at each call, because somebody may be working on the remedy.
func (s *Spawner) choose(ctx context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chosen >= 0 {
		return s.chosen, nil
	}
	best, chosen := Sandbox{}, -1
	var failures []error
	for i, p := range s.plans {
		found, err := s.probe(ctx, p)
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", p.name, err))
			continue
		}
		// The first plan that works is the best, unless it lacks what a later one has.
		if chosen < 0 || len(found.Lacks()) < len(best.Lacks()) {
			best, chosen = found, i
		}
		if len(best.Lacks()) == 0 {
			break
		}
	}
	if chosen < 0 {
		return 0, errors.Join(failures...)
	}
	explain(&best, failures)
	s.found = best
	if err := best.refusal(); err != nil {
		return 0, err
	}
	if lacks := best.Lacks(); len(lacks) > 0 {
		s.log.Warn("functions run in less than the strict sandbox", slog.String("lacks", sandbox.DescribeLacks(lacks)), slog.String("see", "picloud doctor"))
	}
	s.chosen = chosen
	return chosen, nil
}

// probe starts a worker under a plan, reads what the worker says of its sandbox,
// compares it with what the kernel says, and ends the worker.
func (s *Spawner) probe(ctx context.Context, p plan) (Sandbox, error) {
	out := Sandbox{Mode: s.opts.Sandbox, Plan: p.name}
	uid, ok := s.uids.acquireLast()
	if !ok {
		return out, errors.New("every uid is taken")
	}
	defer s.uids.release(uid)
	o := s.options(p, uid)
	o.BestEffort = true // a probe reports what is missing, and does not refuse
	process, socket, err := s.start(p, int64(picloud.DefaultLimits().Memory), uid, o)
	if err != nil {
		return out, err
	}
	defer socket.Close()
	_ = socket.SetReadDeadline(time.Now().Add(probeTimeout)) // it fails for closed sockets only
	stop := context.AfterFunc(ctx, func() { _ = socket.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	h, payload, err := wire.NewReader(socket, func(wire.Header) (int, error) { return maxHello, nil }).Next()
	var hello wire.Hello
	if err == nil && h.Type != wire.TypeHello {
		err = fmt.Errorf("%s frame %d: before hello: %w", h.Type, h.ID, wire.ErrMalformed)
	}
	if err == nil {
		err = hello.Decode(payload)
	}
	if err == nil {
		for _, name := range hello.Layers {
			out.Layers = append(out.Layers, Layer{Name: name, On: true})
		}
		for _, m := range hello.Missing {
			out.Layers = append(out.Layers, Layer{Name: m.Layer, Reason: m.Reason})
		}
		inspect(process.pid, &out, uid)
	}
	process.Kill()
	end := process.Reap()
	if err != nil {
		return out, fmt.Errorf("the executor did not report its sandbox: %w (%s) %s", err, end, end.Reason())
	}
	return out, nil
}

// outOfChroot is what helps where the kernel refuses namespaces to every process of a
// chroot: no setting does.
const outOfChroot = "start the node outside of the chroot that it runs in, for the kernel makes no user namespaces inside of one; systemd-nspawn and containers are no chroots"

// explain adds to each layer what it means, and why it is off.
func explain(s *Sandbox, failures []error) {
	chrooted := machine.Chrooted()
	for i := range s.Layers {
		l := &s.Layers[i]
		l.Meaning = sandbox.Meaning(l.Name)
		if l.On {
			continue
		}
		l.Remedy = sandbox.Remedy(l.Name)
		if chrooted && slices.Contains(append(sandbox.Namespaces(), sandbox.EmptyRoot), l.Name) {
			l.Remedy = outOfChroot
		}
		if l.Reason != "" {
			continue
		}
		l.Reason = "executors start " + s.Plan // the plan leaves it out; the failures say why no better plan was taken
		for _, err := range failures {
			l.Reason += "; " + err.Error()
		}
	}
}
