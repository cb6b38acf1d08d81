package picloud

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLimitTableHasEveryField(t *testing.T) {
	fields := reflect.TypeFor[Limits]()
	require.Len(t, LimitTable(), fields.NumField())
	for i, limit := range LimitTable() {
		require.Equal(t, limit.Name+",omitempty", fields.Field(i).Tag.Get("json"))
		require.NotEmpty(t, limit.Doc+limit.Beyond, limit.Name)
		var l Limits
		limit.set(&l, limit.most)
		require.NoError(t, l.Check(), limit.Name)
		text, err := json.Marshal(l)
		require.NoError(t, err)
		require.Contains(t, string(text), `"`+limit.Name+`"`, "the table reaches another field")
		limit.set(&l, limit.most+1)
		require.ErrorContains(t, l.Check(), "limits."+limit.Name+" must be between "+limit.Least+" and "+limit.Most)
		for _, shown := range []string{limit.Default, limit.Least, limit.Most} {
			require.NoError(t, json.Unmarshal([]byte(`{"`+limit.Name+`":`+quoted(shown)+`}`), &l), "people write it as it is shown")
		}
	}
	require.Equal(t, "15m", short(15*time.Minute))
	require.Equal(t, "1m30s", short(90*time.Second))
	require.Equal(t, "10ms", short(10*time.Millisecond))
	require.Equal(t, "2m", short(2*time.Minute))
	require.Equal(t, "0s", short(0))
	require.Equal(t, "8760h", short(365*24*time.Hour))
	require.Equal(t, "10h20m", short(10*time.Hour+20*time.Minute))
}

func quoted(s string) string {
	if _, err := json.Number(s).Int64(); err == nil {
		return s
	}
	return `"` + s + `"`
}

func TestLimitsAreCompletedInOrder(t *testing.T) {
	function, app, node := Limits{Queue: 1}, Limits{Queue: 2, Concurrency: 2}, Limits{Queue: 3, Concurrency: 3, HostCalls: 3}
	got := function.Or(app).Or(node).WithDefaults()
	want := DefaultLimits()
	want.Queue, want.Concurrency, want.HostCalls = 1, 2, 3
	require.Equal(t, want, got)
	require.Equal(t, Limits{
		Timeout: Duration(10 * time.Second), Memory: 64 << 20, Concurrency: 32, Queue: 128, RequestBody: 8 << 20, ResponseBody: 8 << 20,
		LogBytes: 64 << 10, HostCalls: 50, OutboundCalls: 20,
	}, DefaultLimits())
}
