package sandbox

import (
	"fmt"
	"strings"
)

// LaunchFD is where a launcher writes the pid of the worker that it started, or an
// error. The worker does not get this descriptor.
const LaunchFD = 5

// Launch is the order to a launcher: a process that starts a worker on behalf of the
// agent.
//
// A process enters a user namespace by a fork. To fork the agent would cost it
// milliseconds for each hundred megabytes, because its memory becomes copy-on-write
// page by page. A fresh process of the worker's own program is small. The worker that
// it starts becomes the agent's child.
type Launch struct {
	Flags    uintptr // of clone
	UID, GID int     // ids outside the user namespace that are 0 inside it
	Groups   bool    // the launcher may drop its supplementary groups
}

const argLaunch = "--launch="

// Arg is the order as an argument.
func (l Launch) Arg() string {
	return fmt.Sprintf("%s%d:%d:%d:%t", argLaunch, l.Flags, l.UID, l.GID, l.Groups)
}

// launchIn finds an order among the arguments, and returns the other arguments.
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
