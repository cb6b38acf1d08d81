package main

import (
	"context"
	"fmt"
)

// bodies measures requests and answers of several sizes.
func (r *Report) bodies(ctx context.Context, l *lab) error {
	if err := l.hello.deploy(ctx, "default", "in", `function handle(req) { return "" + string(len(req.body)) }`); err != nil {
		return err
	}
	rows := []*row{{name: "respond, our binary", load: load{l.ours.url, connections, 0}}}
	for _, size := range []int{0, 1 << 10, 64 << 10} {
		name := fmt.Sprintf("out-%d", size)
		source := fmt.Sprintf("function handle(req) { return %q }", "")
		if size > 0 {
			source = fmt.Sprintf("let line = \"0123456789abcde\\n\"\nfunction handle(req) { return line.repeat(%d) }", size/16)
		}
		if err := l.hello.deploy(ctx, "default", name, source); err != nil {
			return err
		}
		rows = append(rows,
			&row{name: fmt.Sprintf("%d KB in", size>>10), load: load{l.hello.functions + "/fn/default/in", connections, size}, node: l.hello},
			&row{name: fmt.Sprintf("%d KB out", size>>10), load: load{l.hello.functions + "/fn/default/" + name, connections, 0}, node: l.hello})
	}
	if err := l.compare(ctx, rows); err != nil {
		return err
	}
	for _, row := range rows[1:] {
		r.Bodies = append(r.Bodies, row.summary(nil, rows[0]))
	}
	return nil
}
