package main

import (
	"context"
	"fmt"
	"os"
)

// lab is what scenarios measure.
type lab struct {
	plan    plan
	dir     string
	servers fleet
	stock   *server // Caddy alone
	ours    *server // the Caddy inside of picloud
	null    *node   // its executor answers every call with the same bytes
	hello   *node
}

const helloSource = `function handle(req) {
  let who = req.query.name ?? "world"
  return {hello: who}
}
`

// helloCall is the call of the hello function that comparisons make.
const helloCall = "/fn/default/hello?name=Ada"

// newLab starts everything and deploys the hello function.
func newLab(ctx context.Context, p plan, dir string) (*lab, error) {
	log, err := os.Create("bench/out/servers.log")
	if err != nil {
		return nil, err
	}
	l := &lab{plan: p, dir: dir, servers: fleet{log: log}}
	if err := l.start(ctx); err != nil {
		l.close()
		return nil, fmt.Errorf("%w; bench/out/servers.log has what the servers said", err)
	}
	return l, nil
}

func (l *lab) start(ctx context.Context) (err error) {
	if l.stock, err = l.servers.caddy(ctx, l.dir, "stock", "bench/out/stockcaddy", "run"); err != nil {
		return err
	}
	if l.ours, err = l.servers.caddy(ctx, l.dir, "ours", "bin/picloud", "caddy", "run"); err != nil {
		return err
	}
	if l.null, err = l.servers.node(ctx, l.dir, "null", "bench/out/nullworker"); err != nil {
		return err
	}
	if l.hello, err = l.servers.node(ctx, l.dir, "hello", "bin/picloud-executor"); err != nil {
		return err
	}
	for _, n := range []*node{l.null, l.hello} {
		if err := n.deploy(ctx, "default", "hello", helloSource); err != nil {
			return err
		}
		// 256 callers wait instead of being refused.
		if err := n.set(ctx, "default", "hello", `{"limits":{"queue":1000}}`); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) close() {
	l.servers.stop()
	_ = l.servers.log.Close()
}
