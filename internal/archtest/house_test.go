package archtest

// This file is the plan of the house: one line for each package that has a place.
// A test says that every package named here exists, so a new package and its line
// come in the same commit. Paths are below the module; "" is the root package.

const (
	caddy = "github.com/caddyserver"
	pgx   = "github.com/jackc/pgx"
	risor = "github.com/deepnoodle-ai/risor"
	hashi = "github.com/hashicorp"
)

// place is a package, and those below it unless it is exact.
type place struct {
	path  string
	exact bool // the package alone
}

// floor is a level of the house. A package reaches its own floor and those
// before it, and never a later one, not even through others.
type floor struct {
	name   string
	places []place
}

// floors are the levels, the lowest first.
var floors = []floor{
	{"root", []place{{"", true}}},
	{"internal leaves", leaves},
	{"executor", []place{{"executor", false}}},
	{"calls", []place{{"agent/invoke", false}}},
	{"public HTTP", []place{{"agent/gateway", false}}},
	{"hall", []place{{"agent", true}}},
	{"caddymodule", []place{{"caddymodule", false}}},
	{"cmd", []place{{"cmd", false}}},
}

// leaves serve everybody, and know only the root package and one another.
var leaves = []place{
	{"internal/backoff", false},
	{"internal/budget", false},
	{"internal/credentials", false},
	{"internal/datadir", false},
	{"internal/egress", false},
	{"internal/hook", false},
	{"internal/local", false},
	{"internal/logbook", false},
	{"internal/machine", false},
	{"internal/mdns", false},
	{"internal/origin", false},
	{"internal/problem", false},
	{"internal/redact", false},
	{"internal/seal", false},
	{"internal/service", false},
	{"internal/share", false},
	{"internal/strictjson", false},
	{"internal/urlpath", false},
	{"internal/value", false},
	{"internal/wiring", false},
}

// wing is a part of the node. It imports the root package, leaves, the executor's
// types, and nothing else of the module: the hall joins the wings.
type wing struct {
	path string
	also []string // what it may import beside those, each with a reason in the table
}

// wings never import one another.
var wings = []wing{
	{"agent/broker", nil},
	{"agent/dump", nil},
	{"agent/quota", nil},
	{"agent/replica", nil},
	{"cluster", nil},
	{"manager", []string{"executor/wire"}}, // the control API writes values of the key-value store in its encoding
}

// executorTypes are the packages of the executor that a wing may import: types
// and contracts, and nothing that starts a process.
var executorTypes = []string{"executor", "executor/hostcall", "executor/trigger"}

// stores implement the interfaces of the wings. Only the hall names them, and the
// parts of the module that no node runs.
var stores = []struct {
	path      string
	importers []place
}{
	{"internal/postgres", []place{{"agent", true}, {"internal/testdb", false}}},
}

// rule says what a package and those below it must not reach.
type rule struct {
	pkg     string
	never   []string // not even through others
	never1  []string // not directly
	because string
}

// standard are packages of the standard library that rules name.
var standard = []string{"net/http", "crypto/x509"}

// rules are what floors and wings do not say already.
var rules = []rule{
	{"executor", []string{pgx, caddy}, nil, "the executor knows neither the proxy nor the database"},
	{"executor/spawn", []string{risor, "github.com/prometheus", module + "/executor/worker"}, []string{module + "/executor"}, "starting processes knows nothing of calls"},
	{"executor/hostcall", []string{"github.com/fxamacker", "net/http", module + "/executor/wire", module + "/executor/risor", module + "/internal/egress"}, nil, "the contract of host calls is a leaf that both sides read"},
	{"internal/value", []string{"github.com/fxamacker", "net/http", module + "/executor", module + "/agent"}, nil, "a leaf"},
	{"executor/wire", []string{risor, module + "/executor/worker"}, nil, "frames know nothing of the language"},
	{"manager", []string{pgx, caddy, risor}, nil, "the manager sees its stores through its own interfaces"},
	{"cluster", []string{pgx, caddy, risor, module + "/executor", module + "/agent", module + "/manager"}, nil, "the cluster moves bytes between nodes and knows no app"},
	{"manager/api/client", []string{module + "/internal", module + "/executor"}, []string{module + "/manager/api"}, "the CLI must not link the manager"},
	{"internal/postgres", []string{caddy, module + "/manager", module + "/executor", module + "/agent"}, nil, "the database is a leaf"},
	{"internal/cli", []string{caddy, pgx, risor, module + "/agent", module + "/executor", module + "/internal/postgres"}, []string{module + "/manager", module + "/manager/api"}, "the CLI speaks to the API only"},
	{"migrations", nil, []string{module + "/"}, "migrations stand alone"},
	{"agent", []string{caddy}, nil, "the agent is testable without the proxy"},
	{"caddymodule", nil, []string{pgx, risor}, "an adapter, not a second agent"},
	{"cmd/picloud-executor", []string{caddy, pgx, module + "/agent", module + "/manager", "github.com/prometheus", "net/http", "crypto/x509"}, nil, "the worker stays small"},
}

// only says which packages alone may import a dependency.
var only = []struct {
	dependency string
	importers  []string
}{
	{risor, []string{"executor/risor"}},
	{pgx, []string{"internal/postgres", "internal/testdb", "migrations"}},
	{caddy, []string{"caddymodule", "cmd/picloud", "bench"}},
	{hashi, []string{"cluster"}},                                 // gossip and consensus
	{"github.com/stretchr/testify", []string{"internal/testdb"}}, // and tests
	{module + "/internal/hook", []string{"executor"}},            // and tests
}

// notShipped holds what no node runs: tests and measurements.
var notShipped = []string{"bench", "internal/powercut", "internal/previous", "internal/testdb", "internal/testenv", "internal/testworker", "test"}

// bareGo names the functions that start a goroutine themselves, each with who
// ends it. All others use service.Go or sync.WaitGroup.Go. A function is named
// by its package and its name, without the receiver.
var bareGo = map[string]string{
	"internal/service.Go":     "Task.Stop ends it and waits for it",
	"cluster/elect.within":    "one wait for what has no deadline of its own; the Raft's end ends it",
	"cluster/elect.openStore": "the worker of a store: close ends it, and gone says when",
	"cluster/elect.stop":      "it waits for the task that serve gave up waiting for",
	"executor/spawn.fork":     "one thread for one fork; fork waits for it",
	"executor/worker.add":     "the loader: it ends with its queue, and busy counts it",
	"executor/worker.invoke":  "a runner of calls: it ends when it has no call, and busy counts it",
	"internal/egress.race":    "one attempt to connect, bounded by the context of the dial",
}

// crowded packages have more files than maxFiles, each with what will change it.
var crowded = map[string]string{}
