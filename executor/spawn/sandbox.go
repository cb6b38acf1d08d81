package spawn

import (
	"slices"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/sandbox"
)

// The modes of the sandbox.
const (
	// Strict starts no worker without the minimum: no_new_privs, seccomp, no
	// capabilities, resource limits, and Landlock or an empty root.
	Strict = "strict"
	// BestEffort takes the layers that the system permits, and warns.
	BestEffort = "best_effort"
)

// Sandbox describes what the workers of this node are kept in.
type Sandbox struct {
	Mode   string // Strict or BestEffort
	Plan   string // how workers are started, in words
	Layers []Layer
}

// Layer is one layer of the sandbox.
type Layer struct {
	Name    string // "landlock"
	Meaning string // what it takes from a worker
	On      bool
	Reason  string // why it is off
	Remedy  string // what a person can do about it
}

// On reports whether a layer is on.
func (s Sandbox) On(name string) bool {
	return slices.ContainsFunc(s.Layers, func(l Layer) bool { return l.Name == name && l.On })
}

// Lacks returns what strict requires and this sandbox does not have, in the form of
// sandbox.Lacks. Empty: the sandbox is enough.
func (s Sandbox) Lacks() [][]string {
	var on []string
	for _, l := range s.Layers {
		if l.On {
			on = append(on, l.Name)
		}
	}
	return sandbox.Lacks(on)
}

// refusal returns the error for which no worker starts under strict. Nil: workers
// start.
func (s Sandbox) refusal() error {
	lacks := s.Lacks()
	if s.Mode != Strict || len(lacks) == 0 {
		return nil
	}
	var reasons, remedies []string
	for _, l := range s.Layers {
		if !l.On && sandbox.Needs(lacks, l.Name) {
			reasons = append(reasons, l.Name+": "+l.Reason)
			remedies = append(remedies, l.Name+": "+l.Remedy)
		}
	}
	remedies = append(remedies, "or set sandbox "+BestEffort+" and trust what you deploy")
	return &picloud.Error{
		Code: picloud.CodeExecutor, Op: "start executor", RetryAfter: reprobe,
		Detail: "the sandbox lacks " + sandbox.DescribeLacks(lacks) + " (" + strings.Join(reasons, "; ") + ")",
		Hint:   strings.Join(remedies, "; "),
	}
}
