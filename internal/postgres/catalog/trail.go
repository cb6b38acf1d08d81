package catalog

import (
	"slices"

	"github.com/jackc/pgx/v5"
)

// step is a deployment as the trail sees it.
type step struct {
	version  int
	rollback bool
}

func stepRow(row pgx.CollectableRow) (s step, err error) {
	err = row.Scan(&s.version, &s.rollback)
	return s, err
}

// trail is the stack of versions that a function can be rolled back along; the
// live version is the last. A deploy pushes its version. A rollback pops all above
// the version that it goes to. So each rollback goes one further back, and the
// versions that it left are no longer on the trail.
type trail []int

// trailOf follows the deployments of a function, the oldest first.
func trailOf(history []step) trail {
	var t trail
	for _, s := range history {
		t = t.after(s)
	}
	return t
}

// after is the trail after one more deployment. A rollback to a version that is
// not on the trail pushes it.
func (t trail) after(s step) trail {
	if len(t) > 0 && t[len(t)-1] == s.version {
		return t
	}
	if s.rollback {
		for i, version := range slices.Backward(t) {
			if version == s.version {
				return t[:i+1]
			}
		}
	}
	return append(slices.Clip(t), s.version)
}

// below is the version that a rollback which names none goes to; 0: there is none.
func (t trail) below() int {
	if len(t) < 2 {
		return 0
	}
	return t[len(t)-2]
}
