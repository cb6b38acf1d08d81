package hostcall

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/value"
)

// call is any host call: what the worker writes, the broker reads.
type call interface {
	Append(dst []byte) []byte
}

func text(s string) value.Item { return value.AppendText(nil, s) }

func TestWhatIsWrittenIsRead(t *testing.T) {
	nested := value.Item(append(value.AppendText(value.AppendMap(nil, 1), "k"), 0x81, 1))
	for _, c := range []struct {
		call call
		read func(Arguments) (any, error)
	}{
		{Get{"k"}, func(a Arguments) (any, error) { var c Get; err := c.Read(a); return c, err }},
		{Set{"k", nested, time.Hour}, func(a Arguments) (any, error) { var c Set; err := c.Read(a); return c, err }},
		{CAS{"k", math.MaxInt64, text("v"), time.Millisecond}, func(a Arguments) (any, error) { var c CAS; err := c.Read(a); return c, err }},
		{Incr{"k", math.MinInt64, 0}, func(a Arguments) (any, error) { var c Incr; err := c.Read(a); return c, err }},
		{Delete{"k", 7}, func(a Arguments) (any, error) { var c Delete; err := c.Read(a); return c, err }},
		{List{"p", MaxListed, "c"}, func(a Arguments) (any, error) { var c List; err := c.Read(a); return c, err }},
		{Secret{"TOKEN"}, func(a Arguments) (any, error) { var c Secret; err := c.Read(a); return c, err }},
		{Fetch{URL: "https://a.example"}, func(a Arguments) (any, error) { var c Fetch; err := c.Read(a); return c, err }},
		{
			Fetch{"https://a.example", "PUT", []Field{{"a", "b"}, {"c", ""}}, []byte("x"), time.Second, Redirects{true, 0}, MaxBody},
			func(a Arguments) (any, error) { var c Fetch; err := c.Read(a); return c, err },
		},
	} {
		encoded := c.call.Append(nil)
		shape, err := value.Check(encoded)
		require.NoError(t, err, "%+v", c.call)
		a, items, err := Parse(encoded)
		require.NoError(t, err)
		require.Equal(t, shape.Items, items)
		got, err := c.read(a.Clone())
		require.NoError(t, err)
		require.Equal(t, c.call, got)

		short, _, err := Parse(append(value.AppendList(nil, 5), 0, 0, 0, 0, 0))
		require.NoError(t, err)
		for _, bad := range []Arguments{{}, short} {
			_, err = c.read(bad)
			require.Equal(t, CodeInvalidArguments, codeOf(t, err))
		}
	}
}

func codeOf(t *testing.T, err error) string {
	t.Helper()
	var known *Error
	require.ErrorAs(t, err, &known, "%v", err)
	return known.Code
}

func TestWhatIsRefused(t *testing.T) {
	deep := func(n int) value.Item { return append([]byte(strings.Repeat("\x81", n)), 0) }
	set := func(c Set) error {
		a, _, err := Parse(c.Append(nil))
		require.NoError(t, err)
		return c.Read(a)
	}
	require.NoError(t, set(Set{Key: "k", Value: deep(MaxDepth)}))
	require.NoError(t, set(Set{Key: "k", Value: value.AppendBytes(nil, make([]byte, MaxValue-5))}))
	require.Equal(t, CodeKVInvalidValue, codeOf(t, set(Set{Key: "k", Value: deep(MaxDepth + 1)})))
	require.Equal(t, CodeKVTooLarge, codeOf(t, set(Set{Key: "k", Value: value.AppendBytes(nil, make([]byte, MaxValue-4))})))
	for _, key := range []string{"", "a\x00", strings.Repeat("x", MaxKey+1)} {
		require.Equal(t, CodeKVInvalidKey, codeOf(t, set(Set{Key: key, Value: text("v")})))
	}
	require.Equal(t, CodeInvalidArguments, codeOf(t, set(Set{Key: "k", Value: text("v"), TTL: -1e9})))
	require.Equal(t, CodeInvalidArguments, codeOf(t, set(Set{Key: "k", Value: text("v"), TTL: MaxTTL + 1e9})))

	for _, bad := range []string{"\x01", "\xa0", "\x81", "\x80\x00", "\x81\xa2\x61b\x01\x61a\x02", "\x9f\xff"} {
		_, _, err := Parse([]byte(bad))
		require.ErrorIs(t, err, value.ErrMalformed, "%x", bad)
	}
	for _, none := range []string{"", "\xf6", "\x80"} {
		a, _, err := Parse([]byte(none))
		require.NoError(t, err)
		require.Equal(t, Arguments{}, a)
	}
	options := func(pairs ...string) error {
		b := value.AppendMap(value.AppendText(value.AppendList(nil, 2), "u"), len(pairs))
		a, _, err := Parse([]byte(string(b) + strings.Join(pairs, "")))
		require.NoError(t, err)
		var c Fetch
		return c.Read(a)
	}
	require.NoError(t, options("\x64body\xf6", "\x67headers\xf6"))
	for _, bad := range []string{
		"\x64body\x01", "\x66method\x01", "\x65other\x01", "\x67headers\x01", "\x67headers\x81\x81\x61a", "\x67headers\x81\x82\x61a\x01",
		"\x68max_body\x00", "\x68max_body\x1a\xff\xff\xff\xff", "\x69redirects\x18\xff", "\x6atimeout_ms\x20",
	} {
		require.Equal(t, CodeInvalidArguments, codeOf(t, options(bad)), "%q", bad)
	}
}

func TestAnswersAreValues(t *testing.T) {
	page := AppendListed(AppendPage(nil, "next", 2), "a", text("v"), 1)
	page = AppendListed(page, "b", value.AppendNull(nil), math.MaxInt64)
	for _, answer := range [][]byte{
		page, AppendEntry(nil, text("v"), 1), AppendPage(nil, "", 0),
		Response{Status: 200, Header: []Field{{"a", "b"}}, Body: []byte("x"), URL: "u"}.Append(nil),
	} {
		_, err := value.Check(answer)
		require.NoError(t, err)
	}
}
