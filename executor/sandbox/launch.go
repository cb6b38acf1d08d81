package sandbox

import (
	"fmt"
	"strings"
)

// LaunchFD is where a launcher says which process it started, or why none. It is
// its own only: the worker does not get it.
const LaunchFD = 5

// Launch is what a process is asked that starts a worker in its place.
//
// To give a process a user namespace takes a fork, and to fork the agent would
// cost it milliseconds for each hundred megabytes: all of its memory is shared
// with the child page by page, and copied at the next write. A fresh process of
// the worker's own program is small. What it starts becomes the agent's child.
type Launch struct {
	Flags    uintptr // of clone
	UID, GID int     // of the machine, that are 0 in there
	Groups   bool    // who launches may leave its groups behind
}

const argLaunch = "--launch="

// Arg is the order as an argument.
func (l Launch) Arg() string {
	return fmt.Sprintf("%s%d:%d:%d:%t", argLaunch, l.Flags, l.UID, l.GID, l.Groups)
}

// launchIn finds an order among the arguments, and what is left without it.
func launchIn(args []string) (l Launch, rest []string, found bool) {
	for _, arg := range args {
		order, ok := strings.CutPrefix(arg, argLaunch)
		if !ok {
			rest = append(rest, arg)
			continue
		}
		_, err := fmt.Sscanf(strings.ReplaceAll(order, ":", " "), "%d %d %d %t", &l.Flags, &l.UID, &l.GID, &l.Groups)
		found = err == nil
	}
	return l, rest, found
}
