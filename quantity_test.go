package picloud

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{
		`0`: 0, `1048576`: 1 << 20, `"64MiB"`: 64 << 20, `"8 MB"`: 8_000_000, `"1.5KiB"`: 1536, `"7B"`: 7, `"2GiB"`: 2 << 30,
	} {
		var got Size
		require.NoError(t, json.Unmarshal([]byte(text), &got), text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{`-1`, `"-1MiB"`, `"MiB"`, `"64 mib"`, `"NaN"`, `"Inf"`, `1e300`, `true`, `null`, `{}`, `"9223372036854775808"`} {
		var got Size
		require.Error(t, json.Unmarshal([]byte(text), &got), text)
	}
	for size, want := range map[Size]string{
		0: "0B", 1: "1B", 1024: "1KiB", 1025: "1025B", 64 << 20: "64MiB", 3 << 30: "3GiB",
		32_000_000: "32MB", 1_000_000_000: "1GB", 1_500_000: "1500KB", 1_024_000: "1000KiB", 2_000: "2KB",
	} {
		require.Equal(t, want, size.String())
	}
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "90s": 90 * time.Second, "1m30s": 90 * time.Second, "15ms": 15 * time.Millisecond, "1.5h": 90 * time.Minute, "5µs": 5 * time.Microsecond,
		"1d": day, "7d": 7 * day, "2w": 14 * day, "1w1d1h": 8*day + time.Hour, "1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour, "-1d": -day, "-1d2h": -26 * time.Hour,
	} {
		got, err := ParseDuration(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "d", "1", "day", "1 d", "1d-2h", "1d+2h", "--1d", "-", "1e3d", "NaNd", "Infd", "1h1d", "1d1w", "200000d", "yesterday"} {
		_, err := ParseDuration(text)
		require.ErrorContains(t, err, "is not a duration such as", text)
	}
}

func TestDurationsAndDigestsAreText(t *testing.T) {
	v := struct {
		D Duration `json:"d"`
		H Digest   `json:"h"`
	}{Duration(90 * time.Second), DigestOf([]byte("x"))}
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	require.JSONEq(t, `{"d":"1m30s","h":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}`, string(raw))
	back := v
	back.D, back.H = 0, Digest{}
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Equal(t, v, back)
	require.Error(t, json.Unmarshal([]byte(`{"d":"90"}`), &back))
	require.Error(t, json.Unmarshal([]byte(`{"h":"2d71"}`), &back))
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"64MiB", "8MB", "1e3", "-1", "0x1p4", " 7 B", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseSize(s)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, got, Size(0))
		if got < 1<<50 { // beyond, a float does not hold every byte
			again, err := ParseSize(got.String())
			require.NoError(t, err)
			require.Equal(t, got, again)
		}
	})
}

func FuzzShorten(f *testing.F) {
	f.Add("añb", 2)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 || n > 100 || !utf8.ValidString(s) {
			return
		}
		got := Shorten(s, n)
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, len(got), max(n, 0)+len("…"))
	})
}
