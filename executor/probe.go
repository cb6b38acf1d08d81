package executor

import (
	"errors"
	"fmt"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/executor/wire"
)

// probeTimeout bounds the start of a worker that only tells of its sandbox.
const probeTimeout = 2 * time.Second

// reprobe is when a caller may try again after the sandbox was not enough.
const reprobe = 10 * time.Second

// choose returns the plan to start workers with. It is looked for at the start,
// and as long as none is good enough: somebody may be working on the remedy.
func (l *launcher) choose() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.chosen >= 0 {
		return l.chosen, nil
	}
	best, chosen := Sandbox{}, -1
	var failures []error
	for i, p := range l.plans {
		found, err := l.probe(p)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", p.name, err))
			continue
		}
		// The first that starts is the best, unless it lacks what a later one has.
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
	l.found = best
	if err := best.refusal(); err != nil {
		return 0, err
	}
	if lacks := best.Lacks(); len(lacks) > 0 {
		l.log.Warn("functions run in less than the strict sandbox", "lacks", lacks, "see", "picloud doctor")
	}
	l.chosen = chosen
	return chosen, nil
}

// sandbox returns what is known.
func (l *launcher) sandbox() Sandbox {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.found
}

// probe starts a worker under a plan, hears what it says of itself, looks at what
// the kernel says of it, and ends it.
func (l *launcher) probe(p plan) (Sandbox, error) {
	out := Sandbox{Mode: l.opts.Sandbox, Plan: p.name}
	uid, ok := l.uids.spare()
	if !ok {
		return out, errors.New("every uid is taken")
	}
	defer l.uids.give(uid)
	o := l.options(p, uid)
	o.BestEffort = true // it is to tell, not to refuse
	process, socket, err := l.start(p, int64(picloud.DefaultLimits().Memory), uid, o)
	if err != nil {
		return out, err
	}
	defer socket.Close()
	_ = socket.SetReadDeadline(time.Now().Add(probeTimeout)) // it fails for closed sockets only
	h, payload, err := wire.NewReader(socket, func(wire.Header) (int, error) { return maxHello, nil }).Next()
	var hello wire.Hello
	if err == nil && h.Type != wire.TypeHello {
		err = foreign(h, "before hello")
	}
	if err == nil {
		err = hello.Decode(payload)
	}
	if err == nil {
		for _, name := range hello.Layers {
			out.Layers = append(out.Layers, SandboxLayer{Name: name, On: true})
		}
		for _, m := range hello.Missing {
			out.Layers = append(out.Layers, SandboxLayer{Name: m.Layer, Reason: m.Reason})
		}
		inspect(process.pid, &out, uid)
	}
	process.kill()
	end := process.reap()
	if err != nil {
		return out, fmt.Errorf("the executor said nothing of its sandbox: %w (%s) %s", err, end, end.stderr)
	}
	return out, nil
}

// explain completes layers with what people want to know.
func explain(s *Sandbox, failures []error) {
	for i := range s.Layers {
		l := &s.Layers[i]
		l.Meaning = sandbox.Meaning(l.Name)
		if l.On {
			continue
		}
		l.Remedy = sandbox.Remedy(l.Name)
		if l.Reason != "" {
			continue
		}
		l.Reason = "executors start " + s.Plan // a way without it, and why it is that one
		for _, err := range failures {
			l.Reason += "; " + err.Error()
		}
	}
}
