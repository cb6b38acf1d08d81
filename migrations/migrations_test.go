package migrations

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestMigrationsSayWhichBinariesTheyNeed(t *testing.T) {
	all, err := All()
	require.NoError(t, err)
	require.NotEmpty(t, all)
	require.Equal(t, len(all), Level())
	for i, m := range all {
		require.Equal(t, i+1, m.Number)
		require.LessOrEqual(t, m.MinBinary, m.Number)
	}
}

func TestMigrationsWithoutAHeaderAreRefused(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for text, why := range map[string]string{
		"SELECT 1":                                "does not begin with",
		"\n-- min_binary: 1\nSELECT 1":            "does not begin with",
		"-- min_binary: x\nSELECT 1":              "does not begin with",
		"-- min_binary: 0\nSELECT 1":              "neither its own number",
		"-- min_binary: 3\nSELECT 1":              "neither its own number",
		"-- min_binary: 1 \nSELECT 1":             "does not begin with",
		"-- min_binary: 99999999999999\nSELECT 1": "neither its own number",
	} {
		_, err := load(fstest.MapFS{"0001_init.sql": file("-- min_binary: 1\n"), "0002_next.sql": file(text)})
		require.ErrorContains(t, err, why, "%q", text)
	}
	_, err := load(fstest.MapFS{
		"0001_a.sql": file("-- min_binary: 1\n"), "0002_b.sql": file("-- min_binary: 2\n"), "0003_c.sql": file("-- min_binary: 1\n"),
	})
	require.ErrorContains(t, err, "0003_c.sql", "what a binary needs never falls")
	all, err := load(fstest.MapFS{"0001_a.sql": file("-- min_binary: 1\n"), "0002_b.sql": file("-- min_binary: 1\nSELECT 2")})
	require.NoError(t, err)
	require.Equal(t, []Migration{
		{1, "0001_a.sql", "-- min_binary: 1\n", 1},
		{2, "0002_b.sql", "-- min_binary: 1\nSELECT 2", 1},
	}, all)
}

func TestLiteralsAreQuoted(t *testing.T) {
	require.Equal(t, `'it''s v1'`, literal("it's \x00v\\1"))
}
