package quota

import (
	"cmp"
	"hash/fnv"
	"slices"

	"github.com/picloud/picloud"
)

// View is who is in the cluster, as one node sees it. Both lists have ids, in order, and
// that node too.
type View struct {
	Members []string
	Alive   []string // those that the gossip holds for alive
}

// alone reports whether there is no other member.
func (v View) alone() bool { return len(v.Members) < 2 }

func (v View) equal(w View) bool {
	return slices.Equal(v.Members, w.Members) && slices.Equal(v.Alive, w.Alive)
}

// keeper is the node that counts a function.
func (v View) keeper(key picloud.RouteKey) (node string) {
	best := uint64(0)
	for _, n := range v.Alive {
		if s := score(key, n); node == "" || s > best {
			node, best = n, s
		}
	}
	return node
}

// floor is what a node may run while it does not reach the keeper. Those of all members
// add up to the limit.
func (v View) floor(key picloud.RouteKey, node string, limit int) int {
	order := slices.Clone(v.Members)
	slices.SortFunc(order, func(a, b string) int { return cmp.Compare(score(key, b), score(key, a)) })
	rank := slices.Index(order, node)
	if rank < 0 {
		return 0
	}
	n := limit / len(order)
	if rank < limit%len(order) {
		n++
	}
	return n
}

// score is the weight of a node for a function (rendezvous hashing). It is the same on
// all nodes.
func score(key picloud.RouteKey, node string) uint64 {
	h := fnv.New64a()
	for _, part := range []string{key.App, key.Function, node} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	x := h.Sum64() // FNV alone mixes the last bytes badly: the finalizer of SplitMix64
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
