package executor

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// noUID stands for the agent's own uid.
const noUID = -1

// nobody is the unprivileged uid that every user namespace of a container maps.
const nobody = 65534

// uidCount is how many uids an agent that is root gives to its workers.
const uidCount = 4096

// uidRange hands out uids, and the gids of the same numbers, one per live app.
// An agent that is not root has none to give.
type uidRange struct {
	base int // noUID: none; nobody: one for all

	mu    sync.Mutex
	taken map[int]bool
	next  int // where to look first, so that numbers are reused late
}

func newUIDRange(base int, log *slog.Logger) *uidRange {
	r := &uidRange{base: base, taken: map[int]bool{}}
	if os.Geteuid() != 0 {
		r.base = noUID
		return r
	}
	switch {
	case !mayChangeUser():
		r.base = noUID
		log.Warn("executors run as the node's own user: it is root without the capabilities CAP_SETUID and CAP_SETGID")
	case !uidsMapped(nobody, 1):
		r.base = noUID
		log.Warn("executors run as the node's own user: this user namespace has no other", "first", base, "count", uidCount)
	case !uidsMapped(base, uidCount):
		r.base = nobody
		log.Warn("executors share one uid: this user namespace has none for each app", "first", base, "count", uidCount)
	}
	return r
}

// take returns a uid that nobody else has. It reports false when all are taken.
func (r *uidRange) take() (uid int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.base == noUID || r.base == nobody {
		return r.base, true
	}
	for range uidCount {
		n := r.next
		r.next = (r.next + 1) % uidCount
		if !r.taken[n] {
			r.taken[n] = true
			return r.base + n, true
		}
	}
	return noUID, false
}

// spare returns a uid that no app has, for a moment. It leaves the order alone in
// which apps get theirs.
func (r *uidRange) spare() (uid int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.base == noUID || r.base == nobody {
		return r.base, true
	}
	for n := uidCount - 1; n >= 0; n-- {
		if !r.taken[n] {
			r.taken[n] = true
			return r.base + n, true
		}
	}
	return noUID, false
}

func (r *uidRange) give(uid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.taken, uid-r.base)
}

// uidsMapped reports whether this user namespace has the ids.
func uidsMapped(base, count int) bool {
	f, err := os.Open("/proc/self/uid_map")
	if err != nil {
		return true // no namespaces here
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var inside, outside, length int
		if _, err := fmt.Fscan(strings.NewReader(lines.Text()), &inside, &outside, &length); err != nil {
			continue
		}
		if inside <= base && base+count <= inside+length {
			return true
		}
	}
	return false
}
