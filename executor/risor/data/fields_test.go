package data

import (
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/wire"
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

// A client chooses how many names a query has, and nothing can stop a native function:
// reading all of them takes one pass.
func TestManyFields(t *testing.T) {
	t.Parallel()
	var query []byte
	for i := range 100_000 {
		query = append(strconv.AppendInt(query, int64(i), 16), '&')
	}
	done := make(chan int, 1)
	go func() { done <- NewQuery(query).AsMap().Size() }()
	select {
	case n := <-done:
		require.Equal(t, 100_000, n)
	case <-time.After(10 * time.Second): // look-ups one by one take minutes
		require.Fail(t, "it takes a pass for each name")
	}
}

// What a map of all fields holds is what look-ups find.
func TestAllFields(t *testing.T) {
	t.Parallel()
	block := wire.Pairs{}
	for _, p := range [][2]string{{"B", "1"}, {"b", "2"}, {"Set-Cookie", "x=1"}, {"set-cookie", "y=2"}, {"Cookie", "c=3; d=4; c=5"}, {"Connection", "gone"}, {"Gone", "6"}, {"é", "\xff"}} {
		block = block.AppendPair(p[0], p[1])
	}
	for _, f := range []*Fields{NewHeaders(block), NewAnswerHeaders(block), NewCookies(block), NewParams(block), NewQuery([]byte("a=1&b=%32&a=3&%61=4&&=5"))} {
		all := f.AsMap()
		require.Equal(t, f.names(), all.SortedKeys())
		for _, name := range f.names() {
			want, _ := f.lookup(name)
			require.True(t, want.Equals(all.Get(name)), name)
		}
	}
}
