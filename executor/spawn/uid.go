package spawn

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// NoUID stands for the agent's own uid: the worker runs as the same user.
const NoUID = -1

// nobody is the unprivileged uid that every user namespace of a container maps.
const nobody = 65534

// firstUID is the first uid that an agent that is root gives to its workers. It is
// outside the ranges of Debian, systemd and subuid.
const firstUID = 70_000

// uidCount is how many uids an agent that is root gives to its workers.
const uidCount = 4096

// uidRange gives each live app a uid, and the gid of the same number. An agent that
// is not root has none to give.
type uidRange struct {
	base int // NoUID: none; nobody: all apps share it

	mu    sync.Mutex
	taken map[int]bool
	next  int // where to look first, so that numbers are reused late
}

func newUIDRange(base int, log *slog.Logger) *uidRange {
	r := &uidRange{base: base, taken: map[int]bool{}}
	if os.Geteuid() != 0 {
		r.base = NoUID
		return r
	}
	switch {
	case !mayChangeUser():
		r.base = NoUID
		log.Warn("executors run as the node's own user: it is root without the capabilities CAP_SETUID and CAP_SETGID")
	case !uidsMapped(nobody, 1):
		r.base = NoUID
		log.Warn("executors run as the node's own user: this user namespace has no other", slog.Int("first", base), slog.Int("count", uidCount))
	case !uidsMapped(base, uidCount):
		r.base = nobody
		log.Warn("executors share one uid: this user namespace has none for each app", slog.Int("first", base), slog.Int("count", uidCount))
	}
	return r
}

// acquire returns a uid that no other app has. It reports false when all are taken.
func (r *uidRange) acquire() (uid int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.base == NoUID || r.base == nobody {
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
	return NoUID, false
}

// acquireLast returns the highest free uid, for a probe. It does not change the order
// in which apps get theirs.
func (r *uidRange) acquireLast() (uid int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.base == NoUID || r.base == nobody {
		return r.base, true
	}
	for n := uidCount - 1; n >= 0; n-- {
		if !r.taken[n] {
			r.taken[n] = true
			return r.base + n, true
		}
	}
	return NoUID, false
}

func (r *uidRange) release(uid int) {
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
