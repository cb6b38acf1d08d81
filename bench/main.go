package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

// plan says how much is measured.
type plan struct {
	rounds      int
	duration    time.Duration
	connections int
	coldApps    int
	deploys     int
}

func main() {
	var p plan
	flag.IntVar(&p.rounds, "rounds", 5, "interleaved rounds of the throughput comparison")
	flag.DurationVar(&p.duration, "duration", 4*time.Second, "length of one measurement")
	flag.IntVar(&p.connections, "connections", 32, "concurrent connections")
	flag.IntVar(&p.coldApps, "cold", 50, "idle apps that are called for the first time")
	flag.IntVar(&p.deploys, "deploys", 20, "deploys that are timed until the new version answers")
	out := flag.String("out", "bench", "folder for results.json")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, p, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
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
	log, err := os.Create("bench/out/servers.log")
	if err != nil {
		return err
	}
	defer log.Close()
	servers := fleet{log: log}
	defer servers.stop()

	stock, err := servers.caddy(ctx, dir, "stock", "bench/out/stockcaddy", "run")
	if err != nil {
		return err
	}
	ours, err := servers.caddy(ctx, dir, "ours", "bin/picloud", "caddy", "run")
	if err != nil {
		return err
	}
	null, err := servers.node(ctx, dir, "null", "bench/out/nullworker")
	if err != nil {
		return err
	}
	hello, err := servers.node(ctx, dir, "hello", "bin/picloud-executor")
	if err != nil {
		return err
	}
	for _, n := range []*node{null, hello} {
		if err := n.deploy(ctx, "default", "hello", helloSource); err != nil {
			return err
		}
	}

	report := newReport(p)
	report.Memory = append(report.Memory, hello.memory("node, idle, no function called yet"))
	targets := []target{
		{"stock Caddy respond", stock.url},
		{"respond, our binary", ours.url},
		{"frames alone (worker does nothing)", null.functions + "/fn/default/hello?name=Ada"},
		{"hello function", hello.functions + "/fn/default/hello?name=Ada"},
	}
	if err := report.throughput(ctx, p, targets); err != nil {
		return err
	}
	report.Memory = append(report.Memory, hello.memory("node, after the load"))
	report.Memory = append(report.Memory, hello.workers("executor of the hello app")...)
	if err := report.coldStarts(ctx, hello, p.coldApps); err != nil {
		return err
	}
	if err := report.deployTimes(ctx, hello, p.deploys); err != nil {
		return err
	}
	return report.write(out, "docs/perf.md")
}
