package sandbox

import (
	"strconv"
	"strings"

	"github.com/picloud/picloud/internal/hook"
)

// The arguments that carry options to the process.
const (
	argBestEffort = "--sandbox=best_effort"
	argNamespace  = "--namespace"
	argThreads    = "--threads="
)

// Args are the options as arguments of the process, without Memory.
func (o Options) Args() []string {
	var args []string
	if o.BestEffort {
		args = append(args, argBestEffort)
	}
	if o.Namespace {
		args = append(args, argNamespace)
	}
	if o.Threads > 0 {
		args = append(args, argThreads+strconv.Itoa(o.Threads))
	}
	return append(args, o.hooks.Args()...)
}

// ParseArgs reads the options from the arguments that the agent gave, and ignores
// all other arguments.
func ParseArgs(args []string) Options {
	o := Options{hooks: hook.ParseSandbox(args)}
	for _, arg := range args {
		switch {
		case arg == argBestEffort:
			o.BestEffort = true
		case arg == argNamespace:
			o.Namespace = true
		case strings.HasPrefix(arg, argThreads):
			o.Threads, _ = strconv.Atoi(strings.TrimPrefix(arg, argThreads)) // the agent wrote it
		}
	}
	return o
}
