package agent

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/machine"
)

// The node's own memory. Executors get half of the machine's (Options.ExecutorMemory),
// the agent a quarter; PostgreSQL and everything else have the last one. The agent's
// quarter is a limit of its garbage collector (GOMEMLIMIT): the collector works harder
// when it comes near. What strangers choose the size of is bounded by
// Options.TransitMemory, far below that limit, and reserved before it is allocated.
const (
	minAgentMemory = 192 << 20
	maxAgentMemory = 1 << 30
	// baseMemory is more than the agent takes besides what is on its way.
	baseMemory = 128 << 20

	minTransit = 64 << 20 // holds the largest body that a function can allow
	maxTransit = 80 << 20
)

// defaultTransit is the default of Options.TransitMemory.
func defaultTransit() int64 { return min(max(machine.Memory()/8, minTransit), maxTransit) }

// MemoryStatus says what of the machine's memory the node may take, in bytes.
type MemoryStatus struct {
	Agent     int64 // of the process itself
	FromEnv   bool  // Agent is what GOMEMLIMIT says
	Transit   int64 // within Agent: bodies, answers and values on their way
	Executors int64 // of all executors together
	Machine   int64 // what there is: the machine's, or that of the control group
}

// Memory returns how the machine's memory is shared out under these options, which
// are complete.
func (o Options) Memory() MemoryStatus {
	m := MemoryStatus{Transit: o.TransitMemory, Executors: o.ExecutorMemory, Machine: machine.Memory()}
	if m.Executors == 0 {
		m.Executors = m.Machine / 2
	}
	if m.FromEnv = os.Getenv("GOMEMLIMIT") != ""; m.FromEnv {
		m.Agent = debug.SetMemoryLimit(-1) // the runtime has read it
		return m
	}
	m.Agent = min(max(m.Machine/4, minAgentMemory), maxAgentMemory)
	m.Agent = max(m.Agent, baseMemory+2*m.Transit)
	return m
}

// String is a line for people.
func (m MemoryStatus) String() string {
	from := "GOMEMLIMIT"
	if m.FromEnv {
		from = "GOMEMLIMIT of the environment"
	}
	agent := rounded(m.Agent)
	if m.Agent > m.Machine {
		agent = "unlimited"
	}
	return fmt.Sprintf("agent %s (%s) with %s for bodies and values on their way, executors %s, of %s", agent, from, rounded(m.Transit), rounded(m.Executors), rounded(m.Machine))
}

// rounded is a size in whole MiB.
func rounded(n int64) string { return picloud.Size(n >> 20 << 20).String() }

// limitMemory gives the process its limit, and remembers the one before.
func (a *Agent) limitMemory() error {
	a.memoryBefore = debug.SetMemoryLimit(a.opts.Memory().Agent)
	return nil
}

func (a *Agent) unlimitMemory() { debug.SetMemoryLimit(a.memoryBefore) }

// memoryFinding says what the node takes of the machine, and warns when that is more
// than there is.
func memoryFinding(opts Options) Finding {
	m := opts.Memory()
	f := Finding{Part: "memory", State: "ok", Detail: m.String()}
	if m.Agent+m.Executors > m.Machine {
		f.State = "warn"
		f.Remedy = "set executor_memory or GOMEMLIMIT so that both leave room for PostgreSQL and the system"
	}
	return f
}
