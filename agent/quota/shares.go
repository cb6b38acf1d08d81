package quota

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// turn is how long a node keeps a place for which others wait, when there are fewer places
// than nodes.
const turn = time.Second

// account is what the nodes hold of one function, by node.
type account map[string]*held

type held struct {
	n      int       // what the node may hold
	wants  int       // what it could use
	until  time.Time // n and wants are void from then on
	change time.Time // when it began to hold anything, or nothing
}

func (h *held) hold(n int, now time.Time) {
	if n > 0 != (h.n > 0) {
		h.change = now
	}
	h.n = n
}

// expire forgets nodes that were not heard of.
func (a account) expire(now time.Time) {
	for node, h := range a {
		if !now.Before(h.until) {
			delete(a, node)
		}
	}
}

// share is what a node may run from now on.
func (a account) share(me *held, limit int, now time.Time) (granted int) {
	targets := a.targets(limit, now)
	free, lack := limit, 0 // places that nobody holds, and that others lack
	for h, target := range targets {
		free -= h.n
		if h != me {
			lack += max(target-h.n, 0)
		}
	}
	target := targets[me]
	switch {
	case me.n > target && lack > free:
		return target
	case me.n > target:
		return me.n // nobody lacks it
	}
	free = max(free, 0)
	granted = min(target, me.n+free)
	if spare := free - (granted - me.n) - lack; spare > 0 && me.wants > 0 {
		granted = min(granted+spare, max(granted, target+me.wants/4+1), limit)
	}
	return granted
}

// targets divides the limit: each gets what it wants, or less for those that want most
// (max-min fairness). What is left when the limit cannot be divided evenly goes to those
// whose turn it is.
func (a account) targets(limit int, now time.Time) map[*held]int {
	order := make([]*held, 0, len(a))
	for _, node := range slices.Sorted(maps.Keys(a)) {
		order = append(order, a[node])
	}
	slices.SortStableFunc(order, func(x, y *held) int { return cmp.Compare(x.wants, y.wants) })
	out := make(map[*held]int, len(order))
	left, level := limit, 0
	for i, h := range order {
		level = left / (len(order) - i)
		if h.wants > level {
			order = order[i:]
			break
		}
		out[h] = h.wants
		left -= h.wants
		if i == len(order)-1 {
			return out
		}
	}
	slices.SortStableFunc(order, func(x, y *held) int {
		return cmp.Or(cmp.Compare(x.class(level, now), y.class(level, now)), x.change.Compare(y.change))
	})
	extra := left - level*len(order)
	for i, h := range order {
		out[h] = level
		if i < extra {
			out[h]++
		}
	}
	return out
}

// class is the place of a node in the order in which odd places are given: those that have
// one stay; where there are fewer places than nodes, for one turn.
func (h *held) class(level int, now time.Time) int {
	switch {
	case h.n <= level:
		return 1
	case level == 0 && now.Sub(h.change) >= turn:
		return 2
	default:
		return 0
	}
}
