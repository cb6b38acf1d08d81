package managed

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzParseRecord(f *testing.F) {
	f.Add("123\n/data/postgres\n1700000000\n5432\n/run/x\n\n  1 2\nready   \n")
	f.Add("")
	f.Add("-5\n")
	f.Add("99999999999999999999")
	f.Fuzz(func(t *testing.T, text string) {
		pid, run := parseRecord(text)
		if pid == 0 {
			require.Empty(t, run)
		}
		require.False(t, pid < 0 || pid == 1, "a signal to %d would hit others", pid)
	})
}

func TestProcessesThatServeNothing(t *testing.T) {
	for _, pid := range []int{-1, 0, 1, os.Getpid(), 4194303} {
		require.False(t, serves(pid, "/nowhere"))
	}
	wd, err := os.Getwd()
	require.NoError(t, err)
	require.True(t, serves(os.Getpid(), wd), "what works in the folder does")
}

func TestLastLines(t *testing.T) {
	require.Equal(t, "3 | 4 | 5 | 6 | 7 | 8", lastLines("1\n2\n3\n 4\n5\n6\n7\n8\n\n"))
	require.Empty(t, lastLines("\n"))
	require.LessOrEqual(t, len(lastLines(strings.Repeat("x", 1<<20))), 310)
}

func TestInstallCommands(t *testing.T) {
	require.Contains(t, missing(0, nil).Error(), "15 or newer")
	require.Contains(t, hintFor("FATAL: could not write: No space left on device"), "disk space")
	require.Contains(t, hintFor("initdb: error: could not access directory: Permission denied"), "PICLOUD_DATA")
}
