package executor

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/executor/wire"
)

// actorArg makes the test binary a worker that does what the call's path says.
const actorArg = "act-as-worker"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == actorArg {
		act(os.NewFile(sandbox.SocketFD, "agent"), os.Args[2:])
		os.Exit(0)
	}
	if len(os.Args) > 2 && os.Args[1] == agentArg {
		actAsAgent(os.Args[2])
		return
	}
	goleak.VerifyTestMain(m)
}

// hang waits. The runtime would end a process of which every goroutine waits for
// nothing.
func hang() { <-time.After(time.Hour) }

// unloadable stands in a slot whose load failed.
const unloadable = "\x00"

// actor is a worker that follows the protocol until it is told not to.
type actor struct {
	socket *os.File
	frames *wire.Writer
	reader *wire.Reader

	mu      sync.Mutex
	cancels map[uint64]chan struct{}
	replies map[uint64]chan wire.HostReply
	sources map[uint64]string
	loads   int
}

func act(socket *os.File, args []string) {
	a := &actor{
		socket: socket, frames: wire.NewWriter(socket, true), reader: wire.NewReader(socket, nil),
		cancels: map[uint64]chan struct{}{}, replies: map[uint64]chan wire.HostReply{}, sources: map[uint64]string{},
	}
	hello := &wire.Hello{Version: wire.Version, Layers: []string{"pretended"}}
	for _, arg := range args {
		switch arg {
		case "silent":
			hang()
		case "die":
			os.Stderr.WriteString("no can do\n")
			os.Exit(7)
		case "old":
			hello.Version = 0
		}
	}
	if !slices.Contains(args, "rude") {
		a.send(wire.TypeHello, 0, hello)
	}
	for {
		h, _, err := a.reader.Next()
		if err != nil {
			os.Exit(0) // the agent is gone
		}
		payload := a.reader.Take()
		switch h.Type {
		case wire.TypeLoad:
			a.load(h.ID, payload.B)
		case wire.TypeUnload:
			a.mu.Lock()
			delete(a.sources, h.ID)
			a.mu.Unlock()
		case wire.TypeInvoke:
			a.mu.Lock()
			a.cancels[h.ID] = make(chan struct{})
			a.mu.Unlock()
			a.invoke(h.ID, payload)
		case wire.TypeCancel:
			a.mu.Lock()
			if c := a.cancels[h.ID]; c != nil {
				delete(a.cancels, h.ID)
				close(c)
			}
			a.mu.Unlock()
		case wire.TypeHostReply:
			var reply wire.HostReply
			if reply.Decode(payload.B) == nil {
				a.mu.Lock()
				select {
				case a.replies[h.ID] <- reply:
				default:
				}
				a.mu.Unlock()
			}
		}
	}
}

func (a *actor) send(t wire.Type, id uint64, p wire.Payload) { _ = a.frames.Send(t, id, p) }

func (a *actor) load(slot uint64, payload []byte) {
	var l wire.Load
	if err := l.Decode(payload); err != nil {
		os.Exit(9)
	}
	source := string(l.Source)
	answer := &wire.Loaded{Handlers: []string{"handle"}}
	a.mu.Lock()
	_, taken := a.sources[slot]
	a.loads++
	a.mu.Unlock()
	switch {
	case taken:
		os.Exit(8)
	case strings.HasPrefix(source, "bad"):
		answer = &wire.Loaded{Failure: wire.Failure{Reason: wire.ReasonScript, Message: "unexpected end", Line: 3, Column: 7, Excerpt: "let x ="}}
	case strings.HasPrefix(source, "big"):
		answer = &wire.Loaded{Failure: wire.Failure{Reason: wire.ReasonSourceBounds, Message: "too many bindings"}}
	case strings.HasPrefix(source, "heavy"):
		<-time.After(500 * time.Millisecond)
	case strings.HasPrefix(source, "hang"):
		hang()
	case strings.HasPrefix(source, "explode"):
		os.Stderr.WriteString("runtime: goroutine stack exceeds limit\nfatal error: stack overflow\n")
		os.Exit(2)
	}
	a.mu.Lock()
	a.sources[slot] = source
	if answer.Reason != wire.ReasonNone {
		a.sources[slot] = unloadable
	}
	a.mu.Unlock()
	a.send(wire.TypeLoaded, slot, answer)
}

func (a *actor) invoke(id uint64, payload *wire.Buffer) {
	var v wire.Invocation
	if err := v.Decode(payload.B); err != nil {
		os.Exit(9)
	}
	a.mu.Lock()
	source, loaded := a.sources[uint64(v.Slot)] // now: the slot may soon hold another program
	cancel := a.cancels[id]
	a.mu.Unlock()
	go a.run(id, &v, source, loaded, cancel)
}

func (a *actor) run(id uint64, v *wire.Invocation, source string, loaded bool, cancel chan struct{}) {
	if !loaded || source == unloadable {
		a.send(wire.TypeFailure, id, &wire.Failure{Reason: wire.ReasonNotLoaded, Message: "no program"})
		return
	}
	command, arg, _ := strings.Cut(strings.TrimPrefix(string(v.Path), "/"), "/")
	n, _ := strconv.Atoi(arg)
	ok := func(body string) { a.send(wire.TypeResult, id, &wire.Result{Status: 200, Body: []byte(body)}) }
	switch command {
	case "echo":
		header := wire.Pairs(nil).AppendPair("X-Id", string(v.ID))
		if value, found := v.Header.Get("X-Echo"); found {
			header = header.AppendPair("X-Echo", string(value))
		}
		a.send(wire.TypeResult, id, &wire.Result{Status: 200, Header: header, Body: v.Body})
	case "source":
		ok(source)
	case "pid":
		ok(strconv.Itoa(os.Getpid()))
	case "loads":
		a.mu.Lock()
		n := a.loads
		a.mu.Unlock()
		ok(strconv.Itoa(n))
	case "whoami":
		ok(fmt.Sprintln(os.Getuid(), os.Getgid(), len(os.Environ()), os.Getenv("GOMEMLIMIT")))
	case "slow":
		select {
		case <-time.After(time.Duration(n) * time.Millisecond):
			ok("done")
		case <-cancel:
			a.send(wire.TypeFailure, id, &wire.Failure{Reason: wire.ReasonCancelled, Message: "cancelled"})
		}
	case "stubborn": // answers late, whatever it is told
		<-time.After(time.Duration(n) * time.Millisecond)
		ok("late")
	case "never":
	case "spin":
		for start := time.Now(); time.Since(start) < time.Duration(n)*time.Millisecond; {
		}
		ok("spun")
	case "fail":
		a.send(wire.TypeFailure, id, &wire.Failure{Reason: wire.ReasonError, Message: "boom\xff", Line: 4, Column: 2, Excerpt: "boom()"})
	case "size":
		a.send(wire.TypeResult, id, &wire.Result{Status: 200, Body: bytes.Repeat([]byte("x"), n)})
	case "log":
		for i := range n {
			fields, _ := wire.Marshal(map[string]any{"i": i})
			a.send(wire.TypeLog, id, &wire.Log{Time: time.Unix(0, 0), Level: wire.LevelInfo, Message: "line", Fields: fields})
		}
		ok("logged")
	case "host":
		ok(a.host(id, "kv.get", n))
	case "fetch":
		ok(a.host(id, "http.fetch", n))
	case "ask-on": // asks, and answers without waiting
		a.send(wire.TypeHostCall, id, &wire.HostCall{Seq: 1, Name: "kv.get", Args: []byte{0x81, 0x61, 'k'}})
		ok("on")
	case "ask-much":
		args, _ := wire.Marshal([]any{make([]byte, n)})
		if n == 0 { // small, but not when it is decoded
			args = append([]byte{0x9a, 0, 0, 0, 32}, bytes.Repeat(append([]byte{0x99, 0xff, 0xff}, make([]byte, 0xffff)...), 32)...)
		}
		ok(a.ask(id, 1, "kv.get", args))
	default:
		a.misbehave(command, n, id)
	}
}

// host makes n host calls and returns what came back.
func (a *actor) host(id uint64, name string, n int) string {
	var out []string
	for i := range n {
		args, _ := wire.Marshal([]any{"k", i})
		out = append(out, a.ask(id, i+1, name, args))
	}
	return strings.Join(out, ";")
}

func (a *actor) ask(id uint64, seq int, name string, args []byte) string {
	replies := make(chan wire.HostReply, 1)
	a.mu.Lock()
	a.replies[id] = replies
	a.mu.Unlock()
	a.send(wire.TypeHostCall, id, &wire.HostCall{Seq: uint32(seq), Name: name, Args: args})
	reply := <-replies
	value, _ := wire.Unmarshal(reply.Value)
	return fmt.Sprintf("%d %s %v", reply.Seq, reply.Code, value)
}

// misbehave does what a worker never does on its own.
func (a *actor) misbehave(command string, n int, id uint64) {
	result := &wire.Result{Status: 200, Body: []byte("forged")}
	switch command {
	case "crash":
		os.Stderr.WriteString("panic: something broke\n")
		os.Exit(2)
	case "crash-in":
		<-time.After(time.Duration(n) * time.Millisecond)
		os.Exit(3)
	case "segv": // holds n MiB, and dies as the runtime does when it gets no memory
		held := bytes.Repeat([]byte{1}, n<<20)
		os.Stderr.WriteString("SIGSEGV: segmentation violation\nPC=0x43783d m=0 sigcode=1 addr=0x0\n\ngoroutine 0 gp=0x981fe0 m=0 mp=0x982da0 [idle]:\n")
		os.Exit(1 + int(held[0]))
	case "oom":
		os.Stderr.WriteString("fatal error: runtime: out of memory\n")
		os.Exit(2)
	case "chatty": // dies behind more words than a pipe holds
		for range 100_000 { // as the runtime writes: no waiting for room
			_, _ = syscall.Write(2, []byte("fatal error: runtime: out of memory\n"))
		}
		os.Exit(2)
	case "close":
		_ = a.socket.Close()
		hang()
	case "forge":
		a.send(wire.TypeResult, id+1, result)
	case "forge-generation":
		a.send(wire.TypeResult, id+1<<32, result)
	case "twice":
		_, _ = a.socket.Write(wire.AppendFrame(wire.AppendFrame(nil, wire.TypeResult, id, result), wire.TypeResult, id, result))
	case "wrong-side":
		a.send(wire.TypeInvoke, id, &wire.Invoke{})
	case "wrong-slot":
		a.send(wire.TypeLoaded, 77, &wire.Loaded{})
	case "second-hello":
		a.send(wire.TypeHello, 0, &wire.Hello{Version: wire.Version})
	case "garbage":
		_, _ = a.socket.Write(bytes.Repeat([]byte{0xee}, 100))
	case "huge":
		frame := wire.AppendFrame(nil, wire.TypeResult, id, result)
		frame[3] = 0x7f
		_, _ = a.socket.Write(frame)
	case "over-limit":
		a.send(wire.TypeResult, id, &wire.Result{Status: 200, Body: make([]byte, 20<<20)})
	case "truncated":
		frame := wire.AppendFrame(nil, wire.TypeResult, id, result)
		_, _ = a.socket.Write(frame[:len(frame)-2])
		os.Exit(0)
	case "half": // a frame that never ends
		frame := wire.AppendFrame(nil, wire.TypeResult, id, result)
		_, _ = a.socket.Write(frame[:len(frame)-2])
		hang()
	case "bad-cbor":
		frame := wire.AppendFrame(nil, wire.TypeResult, id, result)
		frame[wire.HeaderSize] = 0xff
		_, _ = a.socket.Write(frame)
	case "bad-headers":
		a.send(wire.TypeResult, id, &wire.Result{Status: 200, Header: wire.Pairs{0x41}})
	case "inject":
		a.send(wire.TypeResult, id, &wire.Result{Status: 200, Header: wire.Pairs(nil).AppendPair("X-A", "b\r\nSet-Cookie: x=y")})
	case "bad-status":
		a.send(wire.TypeResult, id, &wire.Result{Status: 101})
	case "log-flood":
		for {
			a.send(wire.TypeLog, id, &wire.Log{Message: strings.Repeat("x", 10_000)})
		}
	case "host-flood":
		for i := range 1000 {
			a.send(wire.TypeHostCall, id, &wire.HostCall{Seq: uint32(i), Name: "kv.get"})
		}
	case "deaf": // stops reading
		a.frames.Close(io.ErrClosedPipe)
		a.mu.Lock()
		hang()
	}
}
