package main

import (
	"os"
	"strconv"
	"strings"
)

// ticksPerSecond is what /proc counts processor time in, on every Linux.
const ticksPerSecond = 100

// cpu is the processor time that the node and its executors have taken so far,
// in seconds by kind of process. A nil node has none.
func (n *node) cpu() map[string]float64 {
	if n == nil {
		return nil
	}
	out := map[string]float64{"node": cpuOf(n.pid), "executors": 0}
	for _, pid := range n.executors() {
		out["executors"] += cpuOf(pid)
	}
	return out
}

func cpuOf(pid int) float64 {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	text := string(raw)
	// Fields 14 and 15, utime and stime; the 3rd is the first behind the name.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond
}
