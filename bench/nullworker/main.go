// Command nullworker stands in for the executor in the benchmark: it answers
// every call with the same bytes and runs nothing, so that the figures show
// what frames and processes cost alone.
package main

import (
	"os"

	"github.com/picloud/picloud/executor/wire"
)

func main() {
	socket := os.NewFile(3, "agent")
	if err := answer(socket); err != nil {
		os.Exit(1) // the agent ended the conversation
	}
}

func answer(socket *os.File) error {
	r, w := wire.NewReader(socket, nil), wire.NewWriter(socket, true)
	if err := w.Send(wire.TypeHello, 0, &wire.Hello{Version: wire.Version}); err != nil {
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
