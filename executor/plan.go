//go:build unix

package executor

import (
	"slices"

	"github.com/picloud/picloud/executor/sandbox"
)

// plan is a way to start a worker. Which one a machine permits is found by trying.
type plan struct {
	name       string
	namespaces []string // layers that the agent gives it
	powers     bool     // it starts with the capabilities that it needs to take the others away
}

// launches reports whether a launcher starts the worker; see sandbox.Launch.
func (p plan) launches() bool { return slices.Contains(p.namespaces, sandbox.UserNamespace) }

// options returns the options of a worker's sandbox under a plan.
func (l *launcher) options(p plan, uid int) sandbox.Options {
	o := sandbox.Options{
		BestEffort: l.opts.Sandbox == SandboxBestEffort || l.opts.Layers != nil,
		Namespace:  slices.Contains(p.namespaces, sandbox.MountNamespace),
		Without:    l.opts.Without,
	}
	switch {
	case slices.Contains(p.namespaces, sandbox.UserNamespace) && countsByNamespace():
		o.Threads = maxThreads
	case uid != noUID && uid != nobody: // an app's workers share a uid
		o.Threads = maxThreads * l.opts.MaxWorkers
	}
	return o
}

// maxThreads is how many threads a worker may have, where that can be bounded.
// One that runs Go code, some that collect garbage, and as many that wait.
const maxThreads = 64
