package managed

import (
	"io"
	"os"
	"strings"

	"github.com/picloud/picloud"
)

// maxLog is how large the server's log gets; one older log is kept.
const maxLog = 10 << 20

// rotate moves a log that is large out of the way, before the server starts.
func rotate(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() <= maxLog {
		return nil
	}
	if err := os.Rename(path, path+".1"); err != nil {
		return diskError("rotate log", path, err)
	}
	return nil
}

// truncate empties a log that grew large while the server runs. The server opened it
// for appending, so it continues at the beginning.
func truncate(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() <= maxLog {
		return nil
	}
	return os.Truncate(path, 0)
}

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
}

// size returns how long the log is, from where tail can begin later.
func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// tail returns the last lines of the log that were written after an offset.
func tail(path string, from int64) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	from = max(from, size(path)-4096)
	b, _ := io.ReadAll(io.NewSectionReader(file, from, 4096)) // what there is
	return lastLines(string(b))
}

// lastLines returns at most the last six lines of a text in one.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-6):]
	for i := range lines {
		lines[i] = picloud.Shorten(strings.TrimSpace(lines[i]), 300)
	}
	return strings.Join(lines, " | ")
}
