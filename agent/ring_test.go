package agent

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
)

func TestRingKeepsTheNewest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		added := rapid.IntRange(0, 2*RingSize+10).Draw(rt, "added")
		asked := rapid.IntRange(0, RingSize+5).Draw(rt, "asked")
		var r ring
		for i := range added {
			r.add(picloud.Invocation{Status: i})
		}
		got := r.newest(asked)
		require.Len(rt, got, min(asked, added, RingSize))
		for i, inv := range got {
			require.Equal(rt, added-1-i, inv.Status)
		}
	})
}

func TestRingCutsLongText(t *testing.T) {
	var r ring
	r.add(picloud.Invocation{Path: strings.Repeat("p", 10_000), Error: strings.Repeat("e", 10_000)})
	got := r.newest(1)[0]
	require.Len(t, got.Path, maxRecordedPath)
	require.Len(t, got.Error, maxRecordedError)
}

func TestRingsListAnAppNewestFirst(t *testing.T) {
	var rs rings
	a := picloud.RouteKey{App: "shop", Function: "a"}
	b := picloud.RouteKey{App: "shop", Function: "b"}
	rs.of(a).add(picloud.Invocation{ID: "1", Started: at(1)})
	rs.of(b).add(picloud.Invocation{ID: "2", Started: at(2)})
	rs.of(a).add(picloud.Invocation{ID: "3", Started: at(3)})
	rs.of(picloud.RouteKey{App: "other", Function: "a"}).add(picloud.Invocation{ID: "x", Started: at(4)})

	require.Equal(t, []string{"3", "2", "1"}, ids(rs.Invocations("shop", "", 10)))
	require.Equal(t, []string{"3", "1"}, ids(rs.Invocations("shop", "a", 10)))
	require.Equal(t, []string{"3", "2"}, ids(rs.Invocations("shop", "", 2)))
	rs.forget(a)
	require.Equal(t, []string{"2"}, ids(rs.Invocations("shop", "", 10)))
}

func ids(list []picloud.Invocation) []string {
	var out []string
	for _, inv := range list {
		out = append(out, inv.ID)
	}
	return out
}
