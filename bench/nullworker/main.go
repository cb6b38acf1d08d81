// Command nullworker stands in for the executor in the benchmark: it answers
// every call with the same bytes and runs nothing, so that the figures show
// what frames and processes cost alone.
package main

import (
	"os"
	"runtime/debug"

	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/executor/wire"
)

func main() {
	sandbox.RunLaunch()
	socket := os.NewFile(sandbox.SocketFD, "agent") // this opens the runtime's poller, while it may
	opts := sandbox.ParseArgs(os.Args[1:])
	opts.Memory = debug.SetMemoryLimit(-1) // GOMEMLIMIT
	report, err := sandbox.Apply(opts)
	if err == nil {
		err = answer(socket, report.On())
	}
	if err != nil {
		os.Exit(1) // the agent ended the conversation
	}
}

func answer(socket *os.File, layers []string) error {
	r, w := wire.NewReader(socket, nil), wire.NewWriter(socket, true)
	if err := w.Send(wire.TypeHello, 0, &wire.Hello{Version: wire.Version, Layers: layers}); err != nil {
		return err
	}
	result := &wire.Result{
		Status: 200,
		Header: wire.Pairs(nil).AppendPair("content-type", "application/json"),
		Body:   []byte(`{"hello":"Ada"}`),
	}
	loaded := &wire.Loaded{Handlers: []string{"handle"}}
	for {
		h, _, err := r.Next()
		if err != nil {
			return err
		}
		switch h.Type {
		case wire.TypeLoad:
			err = w.Send(wire.TypeLoaded, h.ID, loaded)
		case wire.TypeInvoke:
			err = w.Send(wire.TypeResult, h.ID, result)
		}
		if err != nil {
			return err
		}
	}
}
