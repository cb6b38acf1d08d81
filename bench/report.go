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
	Machine     string       `json:"machine"`
	Go          string       `json:"go"`
	Connections int          `json:"connections"`
	Rounds      int          `json:"rounds"`
	Seconds     float64      `json:"seconds_per_measurement"`
	Throughput  []Throughput `json:"throughput"`
	ColdStart   Spread       `json:"cold_start"`
	Deploy      Spread       `json:"deploy_to_first_answer"`
	Memory      []Memory     `json:"memory"`
}

// Throughput is one row of the comparison. Ratios are medians of the ratios of
// each round, which cancels what the machine did meanwhile.
type Throughput struct {
	Name         string    `json:"name"`
	Median       float64   `json:"median_per_second"`
	RatioToStock float64   `json:"ratio_to_stock"`
	RatioToOurs  float64   `json:"ratio_to_our_respond,omitempty"`
	P50ms        float64   `json:"p50_ms"`
	P99ms        float64   `json:"p99_ms"`
	Rounds       []float64 `json:"rounds"`

	p50s, p99s, toStock, toOurs []float64
}

func newReport(p plan) *Report {
	return &Report{
		Machine: fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()), Go: runtime.Version(),
		Connections: p.connections, Rounds: p.rounds, Seconds: p.duration.Seconds(),
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
	fmt.Fprintf(&b, "%s, %s; %d connections, %d rounds of %g s, medians\n\n", r.Machine, r.Go, r.Connections, r.Rounds, r.Seconds)
	b.WriteString("| | requests/s | × stock Caddy | × our respond | p50 ms | p99 ms |\n|---|---:|---:|---:|---:|---:|\n")
	for _, t := range r.Throughput {
		ours := "–"
		if t.RatioToOurs > 0 {
			ours = fmt.Sprintf("%.3f", t.RatioToOurs)
		}
		fmt.Fprintf(&b, "| %s | %.0f | %.3f | %s | %.2f | %.2f |\n", t.Name, t.Median, t.RatioToStock, ours, t.P50ms, t.P99ms)
	}
	b.WriteString("\n| | count | median ms | p99 ms | max ms |\n|---|---:|---:|---:|---:|\n")
	for _, s := range []struct {
		name string
		Spread
	}{{"cold start: first call of an idle app", r.ColdStart}, {"deploy → first new answer", r.Deploy}} {
		fmt.Fprintf(&b, "| %s | %d | %.1f | %.1f | %.1f |\n", s.name, s.Count, s.Median, s.P99, s.Max)
	}
	b.WriteString("\n| | processes | RSS MB | PSS MB |\n|---|---:|---:|---:|\n")
	for _, m := range r.Memory {
		fmt.Fprintf(&b, "| %s | %d | %.1f | %.1f |\n", m.Name, m.Processes, m.RSS, m.PSS)
	}
	return b.String()
}
