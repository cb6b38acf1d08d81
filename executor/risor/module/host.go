package module

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/picloud/picloud/executor/risor/vm"
	"github.com/picloud/picloud/executor/wire"
)

// Host is what a call of a handler asks for things beyond computing.
type Host interface {
	// Log takes a record. The fields are a CBOR map as wire.Log carries it, or
	// empty; they are the host's only until it returns.
	Log(level wire.Level, message string, fields []byte)
	// Call asks for a function of the host and waits for its answer. Args is a
	// CBOR list, the value is CBOR too. An error that is a *hostcall.Error has a code.
	Call(name string, args []byte) (value []byte, err error)
	// Sleep waits, at most until the call ends.
	Sleep(d time.Duration) error
}

// Access is what the functions of modules reach of the call that they run for.
type Access struct {
	Request *wire.Invocation // valid until the response has been sent: the response may alias it
	Env     *Env             // nil: no variables
	Host    Host
}

// AccessOf returns the Access of the call that a native function runs for.
func AccessOf(ctx context.Context) *Access { return vm.Env(ctx).(*Access) }

// Env are the variables of a program. They are decoded when a script first asks
// for one, once for all calls. The nil Env is empty.
type Env struct {
	encoded []byte
	once    sync.Once
	items   map[string]string
}

// NewEnv keeps a copy of variables as wire.Load has them.
func NewEnv(encoded []byte) *Env { return &Env{encoded: bytes.Clone(encoded)} }

// get returns the variables, which nobody may change.
func (e *Env) get() map[string]string {
	if e == nil {
		return nil
	}
	e.once.Do(func() {
		// Bytes of the agent that are not well-formed count as nothing.
		v, _ := wire.Unmarshal(e.encoded)
		items, _ := v.(map[string]any)
		e.items = make(map[string]string, len(items))
		for name, value := range items {
			if s, ok := value.(string); ok {
				e.items[name] = s
			}
		}
		e.encoded = nil
	})
	return e.items
}
