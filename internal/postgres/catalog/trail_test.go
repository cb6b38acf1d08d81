package catalog

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestTrail(t *testing.T) {
	deploy := func(version int) step { return step{version, false} }
	back := func(version int) step { return step{version, true} }
	for name, tt := range map[string]struct {
		history []step
		want    trail
	}{
		"nothing":                         {nil, nil},
		"deploys":                         {[]step{deploy(1), deploy(2), deploy(3)}, trail{1, 2, 3}},
		"one back":                        {[]step{deploy(1), deploy(2), deploy(3), back(2)}, trail{1, 2}},
		"two back":                        {[]step{deploy(1), deploy(2), deploy(3), back(2), back(1)}, trail{1}},
		"a fix after a rollback":          {[]step{deploy(1), deploy(2), deploy(3), back(2), deploy(4)}, trail{1, 2, 4}},
		"far back":                        {[]step{deploy(1), deploy(2), deploy(3), back(1)}, trail{1}},
		"back to what was left":           {[]step{deploy(1), deploy(2), back(1), back(2)}, trail{1, 2}},
		"an old version again":            {[]step{deploy(1), deploy(2), deploy(1)}, trail{1, 2, 1}},
		"back from an old one":            {[]step{deploy(1), deploy(2), deploy(1), back(2)}, trail{1, 2}},
		"the records begin in the middle": {[]step{back(4), deploy(6)}, trail{4, 6}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, trailOf(tt.history)) })
	}
}

// Rolling back again and again ends, and visits no version that it left.
func TestRollingBackGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var path trail
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			if to := path.below(); to != 0 && rapid.Bool().Draw(t, "back") {
				path = path.after(step{to, true})
			} else {
				path = path.after(step{rapid.IntRange(1, 5).Draw(t, "version"), false})
			}
		}
		for length := len(path); path.below() != 0; length-- {
			require.Len(t, path, length)
			to := path.below()
			path = path.after(step{to, true})
			require.Equal(t, to, path[len(path)-1])
		}
		require.Len(t, path, 1)
	})
}
