// Package sandbox takes a worker process's authority away before it reads the
// first byte of user code: Apply puts the layers on, for every thread, and reads
// back from the kernel that they hold.
//
// The worker calls Apply as the first act of main and tells the outcome in its
// Hello; the agent ends a worker that lacks what it requires. What only a parent
// can give, such as another uid or namespaces, the agent adds when it starts the
// process, and verifies from outside.
package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/picloud/picloud/internal/hook"
)

// The descriptors that the agent hands to a worker, besides stdio.
const (
	// SocketFD is the socket to the agent.
	SocketFD = 3
	// ImageFD is the program itself, which is executed through it: the path need
	// not be reachable for the worker's uid. Apply closes it.
	ImageFD = 4
)

// DataSlack is the memory that a Go process maps before it holds any data. RLIMIT_DATA
// is the memory limit plus DataSlack. 32 MiB of it are a buffer of the FIPS entropy
// source of package crypto: the linker adds it for crypto.verify, the kernel counts
// it, and the process never touches it.
const DataSlack = 96 << 20

// Options configure the layers. They travel to the process as its arguments; see Args.
type Options struct {
	// Memory is the heap limit in bytes, the same as GOMEMLIMIT. Required.
	Memory int64
	// BestEffort goes on without the layers that the system refuses. Default: Apply
	// fails when the minimum is not reached.
	BestEffort bool
	// Namespace says that the process has a mount namespace of its own and may empty
	// its root. Default: it must not change any mount.
	Namespace bool
	// Threads is RLIMIT_NPROC. The agent sets it where the kernel counts only the
	// threads of workers of the same app. Default 0: unbounded.
	Threads int

	hooks hook.Sandbox // from the arguments of a test's worker only
}

// Apply puts the layers on in this process, for good, closes every descriptor
// above SocketFD that is not the runtime's own, and reports which layers are on
// and verified. It fails when the minimum is not reached, unless opts say
// otherwise. A system without any layer, such as darwin, gives an empty report.
func Apply(opts Options) (Report, error) {
	if opts.Memory <= 0 {
		return nil, errors.New("apply sandbox: no memory limit given")
	}
	report, err := apply(opts)
	if err != nil {
		return report, fmt.Errorf("apply sandbox: %w", err)
	}
	if report != nil && len(report.Lacks()) > 0 && !opts.BestEffort {
		return report, fmt.Errorf("apply sandbox: %w", report.Refusal())
	}
	return report, nil
}

// Layer is one thing that is taken from a worker, or why it was not.
type Layer struct {
	Name   string
	On     bool
	Reason string // why it is off: what was tried, and what the system said
}

// Report tells of each layer whether it is on.
type Report []Layer

// On returns the names of the layers that are on.
func (r Report) On() []string {
	names := make([]string, 0, len(r))
	for _, l := range r {
		if l.On {
			names = append(names, l.Name)
		}
	}
	return names
}

// Off returns the layers that are not on.
func (r Report) Off() []Layer {
	var off []Layer
	for _, l := range r {
		if !l.On {
			off = append(off, l)
		}
	}
	return off
}

// Lacks returns what strict requires and the report does not have; see Lacks.
func (r Report) Lacks() [][]string { return Lacks(r.On()) }

// Refusal is the error that names each missing layer and why it is missing.
func (r Report) Refusal() error {
	lacks := r.Lacks()
	texts := make([]string, len(lacks))
	for i, either := range lacks {
		texts[i] = DescribeLacks([][]string{either})
		for _, l := range r.Off() {
			if slices.Contains(either, l.Name) && l.Reason != "" {
				texts[i] += " (" + l.Name + ": " + l.Reason + ")"
			}
		}
	}
	return fmt.Errorf("the strict sandbox lacks %s", strings.Join(texts, ", "))
}
