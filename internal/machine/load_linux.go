package machine

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
)

// Load returns the machine's load of one minute, and how much of its memory is available,
// in bytes; each is 0 where the machine does not say.
func Load() (load float64, available int64) {
	average, _ := os.ReadFile("/proc/loadavg")
	memory, _ := os.ReadFile("/proc/meminfo")
	return parseLoad(average), parseAvailable(memory)
}

func parseLoad(average []byte) float64 {
	first, _, _ := strings.Cut(string(average), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}

func parseAvailable(memory []byte) int64 {
	for lines := bufio.NewScanner(bytes.NewReader(memory)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != "MemAvailable" {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0
		}
		return kib << 10
	}
	return 0
}
