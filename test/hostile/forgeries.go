//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/executor/wire"
)

// forgeries are attempts on the agent itself, by the one way that a worker has.
var forgeries = map[string]func(c *conversation, id uint64){
	"other-call":       func(c *conversation, id uint64) { c.answer(id+1, "forged") },
	"stale-generation": func(c *conversation, id uint64) { c.answer(id-1<<32, "forged") },
	"coming-generation": func(c *conversation, id uint64) {
		c.answer(id+1<<32, "forged")
	},
	"no-call":    func(c *conversation, _ uint64) { c.answer(0xffff_ffff_ffff_ffff, "forged") },
	"other-load": func(c *conversation, _ uint64) { c.send(wire.TypeLoaded, 77, &wire.Loaded{}) },
	"second-load": func(c *conversation, _ uint64) {
		c.send(wire.TypeLoaded, 0, &wire.Loaded{Handlers: []string{"handle"}})
	},
	"second-hello": func(c *conversation, _ uint64) {
		c.send(wire.TypeHello, 0, &wire.Hello{Version: wire.Version, Layers: []string{"all"}})
	},
	"agents-frame": func(c *conversation, id uint64) {
		c.send(wire.TypeInvoke, id, &wire.Invoke{Path: "/", Trigger: "http"})
	},
	"agents-config": func(c *conversation, _ uint64) {
		c.send(wire.TypeConfig, 0, &wire.Config{Version: wire.Version, App: "neighbour"})
	},
	"agents-reply": func(c *conversation, id uint64) { c.send(wire.TypeHostReply, id, &wire.HostReply{Seq: 1}) },
	"answer-twice": func(c *conversation, id uint64) {
		one := result(id, "forged")
		c.write(append(one, one...))
	},
	"late-log": func(c *conversation, id uint64) {
		c.answer(id, "answered")
		c.send(wire.TypeLog, id, &wire.Log{Message: "of a call that is over"})
	},
	"late-host-call": func(c *conversation, id uint64) {
		c.answer(id, "answered")
		c.send(wire.TypeHostCall, id, &wire.HostCall{Seq: 1, Name: "kv.get"})
	},
	"unknown-type": func(c *conversation, id uint64) { c.mangle(id, func(f []byte) { f[4] = 99 }) },
	"no-type":      func(c *conversation, id uint64) { c.mangle(id, func(f []byte) { f[4] = 0 }) },
	"flags":        func(c *conversation, id uint64) { c.mangle(id, func(f []byte) { f[5] = 1 }) },
	"huge-length":  func(c *conversation, id uint64) { c.mangle(id, func(f []byte) { f[3] = 0xff }) },
	"long-length": func(c *conversation, id uint64) { // more than an answer may have, less than a frame may
		c.mangle(id, func(f []byte) { f[3] = 2 })
	},
	"short-length": func(c *conversation, id uint64) { c.mangle(id, func(f []byte) { f[0]-- }) },
	"no-payload":   func(c *conversation, id uint64) { c.mangle(id, func(f []byte) { f[0] = 0 }) },
	"broken-payload": func(c *conversation, id uint64) {
		c.mangle(id, func(f []byte) { f[wire.HeaderSize] = 0xff })
	},
	"huge-string": func(c *conversation, id uint64) { // inside of the payload
		c.mangle(id, func(f []byte) { copy(f[wire.HeaderSize+1:], []byte{0x5b, 0x7f, 0xff, 0xff, 0xff}) })
	},
	"noise": func(c *conversation, _ uint64) {
		random := rand.New(rand.NewPCG(1, 2))
		b := make([]byte, 4096)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		c.write(b)
	},
	"deep-arguments": func(c *conversation, id uint64) {
		c.send(wire.TypeHostCall, id, &wire.HostCall{Seq: 1, Name: "kv.get", Args: bytes.Repeat([]byte{0x81}, 1<<16)})
	},
	"large-log": func(c *conversation, id uint64) {
		frame := wire.AppendFrame(nil, wire.TypeLog, id, &wire.Log{Message: strings.Repeat("x", wire.MaxLogMessage)})
		frame[2] = 0x03 // announces more than a record may have
		c.write(frame)
	},
	"log-flood": func(c *conversation, id uint64) {
		for {
			if c.frames.Send(wire.TypeLog, id, &wire.Log{Message: strings.Repeat("x", 10_000)}) != nil {
				return
			}
		}
	},
	"host-flood": func(c *conversation, id uint64) {
		for i := range uint32(10_000) {
			if c.frames.Send(wire.TypeHostCall, id, &wire.HostCall{Seq: i, Name: "kv.get"}) != nil {
				return
			}
		}
	},
	"silence": func(*conversation, uint64) {},
	"half-frame": func(c *conversation, id uint64) {
		frame := result(id, "forged")
		c.write(frame[:len(frame)-2])
	},
	"half-header": func(c *conversation, id uint64) { c.write(result(id, "forged")[:7]) },
	"cut-frame": func(c *conversation, id uint64) {
		frame := result(id, "forged")
		c.write(frame[:len(frame)-2])
		unix.Exit(0)
	},
	"slow-frame": func(c *conversation, id uint64) { // an honest answer, byte by byte
		for _, b := range result(id, "slowly") {
			c.write([]byte{b})
			<-time.After(time.Millisecond)
		}
	},
	"slow-flood": func(c *conversation, id uint64) { // never ends, and is always about to
		c.mangle(id, func(f []byte) { f[2] = 0x40 })
		for range 1 << 22 {
			c.write([]byte{0})
			<-time.After(time.Millisecond)
		}
	},
	"deaf": func(c *conversation, _ uint64) { close(c.deaf) },
	"hang-up": func(c *conversation, _ uint64) {
		_ = unix.Close(3)
		<-time.After(time.Hour)
	},
	"stop": func(*conversation, uint64) { // as a debugger would
		_, _ = sys(unix.SYS_TGKILL, uintptr(unix.Getpid()), uintptr(unix.Gettid()), uintptr(unix.SIGSTOP))
	},
	"inject-header": func(c *conversation, id uint64) {
		c.send(wire.TypeResult, id, &wire.Result{Status: 200, Header: wire.Pairs(nil).AppendPair("X-A", "b\r\nSet-Cookie: a=b")})
	},
	"bad-status": func(c *conversation, id uint64) { c.send(wire.TypeResult, id, &wire.Result{Status: 101}) },
	"large-body": func(c *conversation, id uint64) {
		c.send(wire.TypeResult, id, &wire.Result{Status: 200, Body: make([]byte, 8<<20+1)})
	},
	"many-headers": func(c *conversation, id uint64) {
		var header wire.Pairs
		for range wire.MaxHeaders + 1 {
			header = header.AppendPair("X-A", "b")
		}
		c.send(wire.TypeResult, id, &wire.Result{Status: 200, Header: header})
	},
	"error-flood": func(c *conversation, id uint64) { // on stderr, and then it ends
		words := []byte(strings.Repeat("fatal error: something\n", 100))
		for range 10_000 {
			_, _ = unix.Write(2, words) // the pipe never blocks
		}
		c.answer(id, "flooded")
	},
}

func result(id uint64, text string) []byte {
	return wire.AppendFrame(nil, wire.TypeResult, id, &wire.Result{Status: 200, Body: []byte(text)})
}

// mangle sends an answer after a change to its bytes.
func (c *conversation) mangle(id uint64, change func(frame []byte)) {
	frame := result(id, "forged, and long enough to hold what is put in its place")
	change(frame)
	c.write(frame)
}

// write goes past the writer of frames.
func (c *conversation) write(b []byte) { _, _ = c.socket.Write(b) }
