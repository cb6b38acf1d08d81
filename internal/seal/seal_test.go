package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func dataKey(t testing.TB, k *ClusterKey, app string) *DataKey {
	t.Helper()
	d, err := k.Unwrap(app, k.NewDataKey(app))
	require.NoError(t, err)
	return d
}

func TestSealedValuesOpenOnlyAsWhatTheyAre(t *testing.T) {
	k := Generate()
	wrapped := k.NewDataKey("shop")
	require.NotEqual(t, wrapped, k.NewDataKey("shop"), "each is fresh")
	d, err := k.Unwrap("shop", wrapped)
	require.NoError(t, err)
	for _, value := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("long"), 8<<10)} {
		sealed := d.Seal("TOKEN", value)
		require.Len(t, sealed, len(value)+Overhead)
		require.NotEqual(t, sealed, d.Seal("TOKEN", value), "the same value is sealed differently each time")
		if len(value) > 8 {
			require.NotContains(t, string(sealed), "long")
		}
		got, err := d.Open("TOKEN", sealed)
		require.NoError(t, err)
		require.True(t, bytes.Equal(value, got))
	}

	// Every wrong way fails, and all in the same words.
	sealed := d.Seal("TOKEN", []byte("value"))
	_, err = k.Unwrap("blog", wrapped)
	require.Equal(t, ErrOpen, err, "another app")
	_, err = Generate().Unwrap("shop", wrapped)
	require.Equal(t, ErrOpen, err, "another cluster")
	_, err = d.Open("TOKEN2", sealed)
	require.Equal(t, ErrOpen, err, "another name")
	_, err = dataKey(t, k, "shop").Open("TOKEN", sealed)
	require.Equal(t, ErrOpen, err, "another data key of the app")
	_, err = d.Open("TOKEN", wrapped)
	require.Equal(t, ErrOpen, err, "a data key is no value")
	_, err = k.Unwrap("shop", sealed)
	require.Equal(t, ErrOpen, err, "a value is no data key")
	for i := range sealed {
		for _, bit := range []byte{1, 0x80} {
			damaged := bytes.Clone(sealed)
			damaged[i] ^= bit
			_, err = d.Open("TOKEN", damaged)
			require.Equal(t, ErrOpen, err, "byte %d", i)
		}
		_, err = d.Open("TOKEN", sealed[:i])
		require.Equal(t, ErrOpen, err, "%d bytes", i)
	}
	_, err = d.Open("TOKEN", append(bytes.Clone(sealed), 0))
	require.Equal(t, ErrOpen, err)
}

// TestNamesCannotBeShifted: app and name are bound separately, since neither
// can hold the slash between them.
func TestNamesCannotBeShifted(t *testing.T) {
	require.False(t, picloud.ValidName("a/b"))
	require.False(t, picloud.ValidVariable("a/b"))
}

func TestAKeyPrintsAsItsName(t *testing.T) {
	k := Generate()
	secret := hex.EncodeToString(k.raw[:])
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("key", k), slog.Any("data", dataKey(t, k, "shop")))
	text := log.String() + fmt.Sprintf("%v %+v %#v %s %x %d", k, k, k, k, k, k)
	require.NotContains(t, strings.ToLower(text), secret)
	require.NotContains(t, text, string(k.raw[:]))
	require.NotContains(t, text, fmt.Sprint(k.raw[:])) //nolint:staticcheck // as numbers
	require.Contains(t, text, k.ID())
	require.Len(t, k.ID(), 32)
	require.NotContains(t, secret, k.ID())
}

func TestTheFileIsKeptPrivate(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	k := Generate()
	require.NoError(t, k.Save(dir))
	info, err := os.Stat(Path(dir))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file stays")
	again, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, k.ID(), again.ID())
	_, err = again.Unwrap("shop", k.NewDataKey("shop"))
	require.NoError(t, err)

	require.ErrorIs(t, Generate().Save(dir), fs.ErrExist, "a key is never replaced")
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o601} {
		require.NoError(t, os.Chmod(Path(dir), mode))
		_, err = Load(dir)
		var e *picloud.Error
		require.ErrorAs(t, err, &e, mode)
		require.Equal(t, picloud.CodeSecrets, e.Code)
		require.Equal(t, "chmod 600 "+Path(dir), e.Hint)
	}
}

func TestAFileThatIsNoKeyIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "short": prefix + "00ff\n", "no hex": prefix + strings.Repeat("zz", keySize),
		"no prefix": strings.Repeat("00", keySize), "long": prefix + strings.Repeat("00", keySize+1), "huge": strings.Repeat("x", 10_000),
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(Path(dir), []byte(text), 0o600))
		_, err := Load(dir)
		require.ErrorIs(t, err, picloud.ErrUnavailable, name)
		if len(text) > 100 {
			require.NotContains(t, err.Error(), text[len(prefix):len(prefix)+20], "nothing of the file is quoted")
		}
	}
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, FileName), 0o700))
	_, err := Load(dir)
	require.ErrorIs(t, err, picloud.ErrUnavailable)
}

func FuzzOpen(f *testing.F) {
	k := Generate()
	d := dataKey(f, k, "shop")
	f.Add(d.Seal("TOKEN", []byte("value")))
	f.Add(k.NewDataKey("shop"))
	f.Add([]byte{version})
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if _, err := d.Open("OTHER", sealed); !errors.Is(err, ErrOpen) {
			t.Fatal("opened what nobody sealed")
		}
		if key, err := k.Unwrap("blog", sealed); !errors.Is(err, ErrOpen) || key != nil {
			t.Fatal("unwrapped what nobody wrapped")
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(prefix + strings.Repeat("0a", keySize))
	f.Add(prefix)
	f.Fuzz(func(t *testing.T, text string) {
		if k, ok := parse(text); ok && len(k.ID()) != 32 {
			t.Fatal(text)
		}
	})
}
