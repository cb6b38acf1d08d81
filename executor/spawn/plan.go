//go:build unix

package spawn

import (
	"slices"

	"github.com/picloud/picloud/executor/sandbox"
)

// plan is a way to start a worker. The Spawner tries which plans a machine permits.
type plan struct {
	name       string
	namespaces []string // layers that the agent gives it
	powers     bool     // it starts with the capabilities that it needs to drop all others
}

// launches reports whether a launcher starts the worker; see sandbox.Launch.
func (p plan) launches() bool { return slices.Contains(p.namespaces, sandbox.UserNamespace) }

// options returns the options of a worker's sandbox under a plan.
func (s *Spawner) options(p plan, uid int) sandbox.Options {
	o := sandbox.Options{
		BestEffort: s.opts.Sandbox == BestEffort || s.hooks.Layers != nil,
		Namespace:  slices.Contains(p.namespaces, sandbox.MountNamespace),
	}
	switch {
	case slices.Contains(p.namespaces, sandbox.UserNamespace) && countsByNamespace():
		o.Threads = maxThreads
	case uid != NoUID && uid != nobody: // an app's workers share a uid
		o.Threads = maxThreads * s.opts.MaxWorkers
	}
	return o
}

// maxThreads is how many threads a worker may have, where that can be bounded.
// One thread runs Go code, some collect garbage, and the others wait.
const maxThreads = 64
