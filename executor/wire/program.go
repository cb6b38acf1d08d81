package wire

import "time"

// The bounds of a Load and its answer.
const (
	MaxSource   = 1 << 20 // bytes; the worker's own bound is tighter and gives a better error
	MaxHandlers = 16
	MaxEnv      = 256 << 10 // encoded variables, in bytes
	maxName     = 128
)

// Mode is the purpose of a load.
type Mode uint8

// The modes.
const (
	ModeServe   Mode = 0 // to be invoked; the source passed ModeCompile before
	ModeCompile Mode = 1 // check the bounds, compile, run the top level, list the handlers
	ModeDraft   Mode = 2 // as ModeCompile, then to be invoked once
)

// Load puts a program into the slot that the header's id names. A slot is below
// Config.Programs, and free or unloaded before.
type Load struct {
	Mode     Mode
	Function string
	Version  int
	Digest   [32]byte // of Source, a key for caches
	Source   []byte
	Timeout  time.Duration // for the load itself; microseconds count
	// Limits of each call of the program. The agent enforces all of them again.
	ResponseBody int
	LogBytes     int
	HostCalls    int
	Env          []byte // a map of strings from Marshal, at most MaxEnv; empty: none
}

func (l *Load) appendPayload(dst []byte) (head, tail []byte) {
	dst = appendArray(dst, 10)
	dst = appendUint(dst, uint64(l.Mode))
	dst = appendBytes(dst, l.Function)
	dst = appendUint(dst, uint64(max(l.Version, 0)))
	dst = appendBytes(dst, l.Digest[:])
	dst = appendUint(dst, uint64(max(l.Timeout, 0)/time.Microsecond))
	dst = appendUint(dst, uint64(max(l.ResponseBody, 0)))
	dst = appendUint(dst, uint64(max(l.LogBytes, 0)))
	dst = appendUint(dst, uint64(max(l.HostCalls, 0)))
	dst = appendBytes(dst, l.Env)
	return appendHeadOf(dst, majorBytes, uint64(len(l.Source))), l.Source
}

// Decode reads the payload of a Load frame. Env and Source alias it.
func (l *Load) Decode(payload []byte) error {
	c := cursor{b: payload}
	c.record(10)
	l.Mode = Mode(c.uint(uint64(ModeDraft)))
	l.Function = c.text(maxName)
	l.Version = int(c.uint(1<<31 - 1))
	if digest := c.bytes(len(l.Digest)); len(digest) == len(l.Digest) {
		copy(l.Digest[:], digest)
	} else {
		c.fail()
	}
	l.Timeout = time.Duration(c.uint(uint64(maxTimeout/time.Microsecond))) * time.Microsecond
	l.ResponseBody = int(c.uint(1<<31 - 1))
	l.LogBytes = int(c.uint(1<<31 - 1))
	l.HostCalls = int(c.uint(1<<31 - 1))
	l.Env = c.bytes(MaxEnv)
	l.Source = c.bytes(MaxSource)
	return c.done("load")
}

// Loaded answers a Load. A slot whose load failed is in use too, until its Unload:
// calls of it fail with ReasonNotLoaded.
type Loaded struct {
	Failure           // ReasonNone: loaded
	Handlers []string // handle, on_schedule, on_event, as far as the program has them
}

func (l *Loaded) appendPayload(dst []byte) (head, tail []byte) {
	dst = l.append(appendArray(dst, 2))
	handlers := l.Handlers[:min(len(l.Handlers), MaxHandlers)]
	dst = appendArray(dst, len(handlers))
	for _, h := range handlers {
		dst = appendBytes(dst, cut(h, maxName))
	}
	return dst, nil
}

// Decode reads the payload of a Loaded frame.
func (l *Loaded) Decode(payload []byte) error {
	c := cursor{b: payload}
	c.record(2)
	l.decode(&c)
	l.Handlers = make([]string, 0, 4)
	for range c.list(MaxHandlers) {
		l.Handlers = append(l.Handlers, c.text(maxName))
	}
	return c.done("loaded")
}
