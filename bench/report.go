package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Report is everything that one run measured.
type Report struct {
	Machine    string       `json:"machine"`
	Go         string       `json:"go"`
	Rounds     int          `json:"rounds"`
	Seconds    float64      `json:"seconds_per_measurement"`
	Throughput []Throughput `json:"throughput"`
	Bodies     []Throughput `json:"bodies"`
	Work       []Throughput `json:"work"`
	Times      []Spread     `json:"times"`
	Neighbours []Spread     `json:"neighbours"`
	Crowd      *Crowd       `json:"crowd"`
	Memory     []Memory     `json:"memory"`
}

func newReport(p plan) *Report {
	return &Report{
		Machine: fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()), Go: runtime.Version(),
		Rounds: p.rounds, Seconds: p.duration.Seconds(),
	}
}

// The table stands between these lines of docs/perf.md.
const (
	tableBegin = "<!-- bench: begin -->\n"
	tableEnd   = "<!-- bench: end -->\n"
)

// write prints the table, saves the raw figures in dir/results.json, and puts
// the table into the page.
func (r *Report) write(dir, page string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	table := r.table()
	fmt.Print(table)
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(raw, '\n'), 0o644); err != nil {
		return err
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !found || !ended {
		return fmt.Errorf("%s has no place for the table", page)
	}
	return os.WriteFile(page, []byte(before+tableBegin+table+tableEnd+after), 0o644)
}

func (r *Report) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s; %d rounds of %g s, medians\n", r.Machine, r.Go, r.Rounds, r.Seconds)
	throughputTable(&b, "A function against a constant answer", r.Throughput)
	throughputTable(&b, fmt.Sprintf("Bodies, %d connections", connections), r.Bodies)
	throughputTable(&b, fmt.Sprintf("Functions that work, %d connections", connections), r.Work)
	timesTable(&b, "Times", r.Times)
	timesTable(&b, fmt.Sprintf("A hello at %d requests/s while others spin, median of %d", neighbourRate, neighbourRounds), r.Neighbours)
	if c := r.Crowd; c != nil {
		heading(&b, "A crowd")
		b.WriteString("| | |\n|---|---:|\n")
		fmt.Fprintf(&b, "| functions deployed, an app each | %d |\n| of which are called at random | %d |\n| calls | %d |\n", c.Deployed, c.Called, c.Calls)
		fmt.Fprintf(&b, "| a call, median ms | %.2f |\n| a call, p99 ms | %.2f |\n", c.Median, c.P99)
		fmt.Fprintf(&b, "| executors alive | %d |\n| their PSS, MB | %.1f |\n| the node's PSS, MB | %.1f |\n", c.Workers, c.WorkersPSS, c.NodePSS)
		fmt.Fprintf(&b, "| executors after the idle timeout | %d |\n| the node then, %% of a core | %.2f |\n", c.Left, c.IdleCPU)
	}
	heading(&b, "Memory")
	b.WriteString("| | processes | RSS MB | PSS MB |\n|---|---:|---:|---:|\n")
	for _, m := range r.Memory {
		fmt.Fprintf(&b, "| %s | %d | %.1f | %.1f |\n", m.Name, m.Processes, m.RSS, m.PSS)
	}
	return b.String()
}

func heading(b *strings.Builder, title string) { fmt.Fprintf(b, "\n**%s**\n\n", title) }

func throughputTable(b *strings.Builder, title string, rows []Throughput) {
	if len(rows) == 0 {
		return
	}
	heading(b, title)
	b.WriteString("| | connections | requests/s | × stock Caddy | × our respond | p50 ms | p99 ms | µs of CPU per call: node | executors |\n")
	b.WriteString("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, t := range rows {
		fmt.Fprintf(b, "| %s | %d | %.0f | %s | %s | %.2f | %.2f | %s | %s |\n", t.Name, t.Connections, t.Median,
			or(t.RatioToStock, "%.2f"), or(t.RatioToOurs, "%.2f"), t.P50ms, t.P99ms, or(t.CPU["node"], "%.0f"), or(t.CPU["executors"], "%.0f"))
	}
}

func or(v float64, format string) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf(format, v)
}

func timesTable(b *strings.Builder, title string, rows []Spread) {
	if len(rows) == 0 {
		return
	}
	heading(b, title)
	b.WriteString("| | count | median ms | p99 ms | max ms |\n|---|---:|---:|---:|---:|\n")
	for _, s := range rows {
		fmt.Fprintf(b, "| %s | %d | %.1f | %.1f | %.1f |\n", s.Name, s.Count, s.Median, s.P99, s.Max)
	}
}
