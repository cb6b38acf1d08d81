package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is what processes hold, in MB. PSS shares pages among those who map them.
type Memory struct {
	Name      string  `json:"name"`
	Processes int     `json:"processes"`
	RSS       float64 `json:"rss_mb"`
	PSS       float64 `json:"pss_mb"`
}

// memory measures the agent's own process.
func (n *node) memory(name string) Memory { return memoryOf(name, []int{n.pid}) }

// workers measures the executors.
func (n *node) workers(name string) Memory { return memoryOf(name, n.executors()) }

// executors are the agent's children but for its database.
func (n *node) executors() (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// pid (comm) state ppid …
		text := string(raw)
		end := strings.LastIndexByte(text, ')')
		fields := strings.Fields(text[end+1:])
		pid, err := strconv.Atoi(text[:strings.IndexByte(text, ' ')])
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(n.pid) && !strings.Contains(text[:end], "(postgres") {
			pids = append(pids, pid)
		}
	}
	return pids
}

func memoryOf(name string, pids []int) Memory {
	m := Memory{Name: name, Processes: len(pids)}
	for _, pid := range pids {
		raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(raw)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			kb, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				continue
			}
			switch f[0] {
			case "Rss:":
				m.RSS += kb / 1000
			case "Pss:":
				m.PSS += kb / 1000
			}
		}
	}
	m.RSS, m.PSS = round1(m.RSS), round1(m.PSS)
	return m
}
