package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
)

// plan says how much is measured.
type plan struct {
	rounds   int
	duration time.Duration
	coldApps int
	deploys  int
	crowd    int // functions deployed for the crowd
	active   int // of which are called
	idle     time.Duration
	only     string
}

// connections is how many callers a comparison has unless it says otherwise.
const connections = 32

func main() {
	var p plan
	flag.IntVar(&p.rounds, "rounds", 5, "interleaved rounds of each comparison")
	flag.DurationVar(&p.duration, "duration", 4*time.Second, "length of one measurement")
	flag.IntVar(&p.coldApps, "cold", 100, "idle apps that are called for the first time")
	flag.IntVar(&p.deploys, "deploys", 20, "deploys that are timed until the new version answers")
	flag.IntVar(&p.crowd, "crowd", 1000, "functions of the crowd, an app each")
	flag.IntVar(&p.active, "active", 100, "functions of the crowd that are called")
	flag.DurationVar(&p.idle, "idle", 30*time.Second, "how long an idle node is watched")
	flag.StringVar(&p.only, "only", "", "scenarios to run, such as throughput,kv (default: all; the page is written only then)")
	out := flag.String("out", "bench", "folder for results.json")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, p, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// scenario is one part of the report.
type scenario struct {
	name string
	run  func(*Report, context.Context, *lab) error
}

var scenarios = []scenario{
	{"throughput", (*Report).throughput},
	{"bodies", (*Report).bodies},
	{"work", (*Report).work},
	{"cold", (*Report).coldStarts},
	{"deploy", (*Report).deployTimes},
	{"neighbour", (*Report).neighbours},
	{"crowd", (*Report).crowd},
}

// run starts the servers, measures, and writes the report.
func run(ctx context.Context, p plan, out string) error {
	dir, err := os.MkdirTemp("", "picloud-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // other uids must get through
		return err
	}
	l, err := newLab(ctx, p, dir)
	if err != nil {
		return err
	}
	defer l.close()
	report := newReport(p)
	report.Memory = append(report.Memory, l.hello.memory("node, idle, no function called yet"))
	for _, s := range scenarios {
		if p.only != "" && !strings.Contains(","+p.only+",", ","+s.name+",") {
			continue
		}
		fmt.Fprintln(os.Stderr, "bench:", s.name)
		if err := s.run(report, ctx, l); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if p.only != "" {
		fmt.Print(report.table())
		return nil
	}
	return report.write(out, "docs/perf.md")
}
