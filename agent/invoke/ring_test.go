package invoke

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
)

func TestRingKeepsTheNewest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		added := rapid.IntRange(0, 2*ringSize+10).Draw(rt, "added")
		asked := rapid.IntRange(0, ringSize+5).Draw(rt, "asked")
		var r ring
		for i := range added {
			r.add(picloud.Invocation{Status: i})
		}
		got := r.newest(asked, nil)
		require.Len(rt, got, min(asked, added, ringSize))
		for i, inv := range got {
			require.Equal(rt, added-1-i, inv.Status)
		}
	})
}

func TestRingCutsLongText(t *testing.T) {
	var r ring
	r.add(picloud.Invocation{Path: strings.Repeat("p", 10_000), Error: strings.Repeat("e", 10_000)})
	got := r.newest(1, nil)[0]
	require.Len(t, got.Path, maxRecordedPath)
	require.Len(t, got.Error, maxRecordedError)
}

// TestRingKeepsNothingOfTheRequestLine: net/http cuts method and path out of one
// string, whose query may have a megabyte. A thousand records must not hold it.
func TestRingKeepsNothingOfTheRequestLine(t *testing.T) {
	line := strings.Clone("GET /some/path?" + strings.Repeat("q", 1<<20))
	from := uintptr(unsafe.Pointer(unsafe.StringData(line)))
	inside := func(s string) bool {
		at := uintptr(unsafe.Pointer(unsafe.StringData(s)))
		return at >= from && at < from+uintptr(len(line))
	}
	var r ring
	for _, method := range []string{line[:3], line[:1]} {
		r.add(picloud.Invocation{Method: method, Path: line[4:14], Error: "no"})
		got := r.newest(1, nil)[0]
		require.Equal(t, method, got.Method)
		require.Equal(t, "/some/path", got.Path)
		require.False(t, inside(got.Method), "the method keeps the line alive")
		require.False(t, inside(got.Path), "the path keeps the line alive")
	}
	r.add(picloud.Invocation{Method: strings.Repeat("X", 10_000), Path: "/" + strings.Repeat("é", 1000)})
	got := r.newest(1, nil)[0]
	require.Len(t, got.Method, maxRecordedMethod)
	require.True(t, utf8.ValidString(got.Path), "no half of a character")
}

func TestRingsListAnAppNewestFirst(t *testing.T) {
	var rs Rings
	a := picloud.RouteKey{App: "shop", Function: "a"}
	b := picloud.RouteKey{App: "shop", Function: "b"}
	rs.of(a).add(picloud.Invocation{ID: "1", Started: at(1)})
	rs.of(b).add(picloud.Invocation{ID: "2", Started: at(2)})
	rs.of(a).add(picloud.Invocation{ID: "3", Started: at(3)})
	rs.of(picloud.RouteKey{App: "other", Function: "a"}).add(picloud.Invocation{ID: "x", Started: at(4)})

	require.Equal(t, []string{"3", "2", "1"}, idsOf(rs.Invocations("shop", nil, 10, nil)))
	require.Equal(t, []string{"3", "1"}, idsOf(rs.Invocations("shop", []string{"a"}, 10, nil)))
	require.Equal(t, []string{"3", "2"}, idsOf(rs.Invocations("shop", nil, 2, nil)))
	rs.forget(a)
	require.Equal(t, []string{"2"}, idsOf(rs.Invocations("shop", nil, 10, nil)))
}

func TestRingsTellWhatEndedSince(t *testing.T) {
	var rs Rings
	a, b := picloud.RouteKey{App: "shop", Function: "a"}, picloud.RouteKey{App: "shop", Function: "b"}
	rs.of(a).add(picloud.Invocation{ID: "before"})
	all, one := rs.Follow("shop", nil), rs.Follow("shop", []string{"a"})
	rs.of(a).add(picloud.Invocation{ID: "1"})
	rs.of(b).add(picloud.Invocation{ID: "2"})
	rs.of(picloud.RouteKey{App: "other", Function: "a"}).add(picloud.Invocation{ID: "x"})
	ended, missed := all()
	require.ElementsMatch(t, []string{"1", "2"}, idsOf(ended))
	require.Zero(t, missed)
	ended, _ = one()
	require.Equal(t, []string{"1"}, idsOf(ended))
	ended, _ = one()
	require.Empty(t, ended)
	for range ringSize + 7 {
		rs.of(a).add(picloud.Invocation{ID: "many"})
	}
	ended, missed = one()
	require.Len(t, ended, ringSize)
	require.Equal(t, int64(7), missed)
	rs.forget(a)
	rs.of(a).add(picloud.Invocation{ID: "again"}) // a function of the same name
	ended, missed = one()
	require.Equal(t, []string{"again"}, idsOf(ended))
	require.Zero(t, missed)
}

func idsOf(list []picloud.Invocation) []string {
	var out []string
	for _, inv := range list {
		out = append(out, inv.ID)
	}
	return out
}

func at(second int) time.Time { return time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC) }
