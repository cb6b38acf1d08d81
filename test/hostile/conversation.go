//go:build linux && (amd64 || arm64)

package main

import (
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/picloud/picloud/executor/wire"
)

// conversation is what a worker says to the agent, with the honest part done by
// the production code.
type conversation struct {
	socket   *wire.Socket
	frames   *wire.Writer
	veterans *veterans
	deaf     chan struct{} // closed when the worker stops reading
}

// converse speaks with the agent until it closes the socket.
func converse(socket *wire.Socket, hello wire.Hello, v *veterans) {
	c := &conversation{socket: socket, frames: wire.NewWriter(socket, true), veterans: v, deaf: make(chan struct{})}
	c.send(wire.TypeHello, 0, &hello)
	for reader := wire.NewReader(socket, nil); ; {
		h, payload, err := reader.Next()
		if err != nil {
			return
		}
		switch h.Type {
		case wire.TypeLoad:
			var l wire.Load
			if l.Decode(payload) != nil {
				os.Exit(exitBroken)
			}
			if forge, ok := forgeries[string(l.Source)]; ok { // a source that is the name of one
				go forge(c, h.ID)
				break
			}
			c.send(wire.TypeLoaded, h.ID, &wire.Loaded{Handlers: []string{"handle"}})
		case wire.TypeInvoke:
			var in wire.Invocation
			if in.Decode(payload) != nil {
				os.Exit(exitBroken)
			}
			go c.invoke(h.ID, string(in.Path), string(in.Query))
		}
		select {
		case <-c.deaf:
			<-time.After(time.Hour)
		default:
		}
	}
}

func (c *conversation) send(t wire.Type, id uint64, p wire.Payload) { _ = c.frames.Send(t, id, p) }

func (c *conversation) answer(id uint64, text string) {
	c.send(wire.TypeResult, id, &wire.Result{Status: 200, Body: []byte(text)})
}

// invoke does what the path of a call names.
func (c *conversation) invoke(id uint64, path, query string) {
	kind, name, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	values, _ := url.ParseQuery(query)
	switch kind {
	case "try":
		for _, a := range attempts {
			if a.name == name {
				c.answer(id, c.veterans.try(a, world{values}))
				return
			}
		}
	case "sweep":
		c.answer(id, sweep())
		return
	case "frame":
		if forge, ok := forgeries[name]; ok {
			forge(c, id)
			return
		}
	}
	c.answer(id, "no attempt is called "+path)
}
