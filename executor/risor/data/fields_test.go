package data

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "a=1&a=2", "&&=&=b", "a%3D=%", "+=+", "k=%ff", "a;b=c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q := NewQuery([]byte(raw))
		m := q.AsMap()
		require.Len(t, q.names(), m.Size())
		for _, name := range q.names() {
			require.Equal(t, mustString(t, m.Get(name)), mustString(t, q.values(name)[0]))
		}
		// Where net/url has no complaint we agree with it.
		if want, err := url.ParseQuery(raw); err == nil {
			for name, values := range want {
				if valid(name) && valid(values[0]) {
					require.Equal(t, values[0], mustString(t, m.Get(name)), "%q", raw)
				}
			}
		}
	})
}
