package sandbox

import (
	"strconv"
	"strings"
)

// The arguments that carry options to the process.
const (
	argBestEffort = "--sandbox=best_effort"
	argNamespace  = "--namespace"
	argThreads    = "--threads="
	argWithout    = "--without="
	argKill       = "--kill"
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
	if len(o.Without) > 0 {
		args = append(args, argWithout+strings.Join(o.Without, ","))
	}
	if o.Kill {
		args = append(args, argKill)
	}
	return args
}

// ParseArgs reads the options from the arguments that the agent gave. Others are
// not its business.
func ParseArgs(args []string) Options {
	var o Options
	for _, arg := range args {
		switch {
		case arg == argBestEffort:
			o.BestEffort = true
		case arg == argNamespace:
			o.Namespace = true
		case arg == argKill:
			o.Kill = true
		case strings.HasPrefix(arg, argThreads):
			o.Threads, _ = strconv.Atoi(strings.TrimPrefix(arg, argThreads)) // the agent wrote it
		case strings.HasPrefix(arg, argWithout):
			o.Without = strings.Split(strings.TrimPrefix(arg, argWithout), ",")
		}
	}
	return o
}
