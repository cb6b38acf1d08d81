package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/picloud/picloud"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	Doc        string
	Name       string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// load lists the packages of the module.
func load(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Name,GoFiles,Imports,Deps", module+"/...").Output()
	require.NoError(t, err)
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		require.NoError(t, err)
		pkgs = append(pkgs, p)
	}
}

// rule says what a package and those below it must not reach.
type rule struct {
	pkg     string   // below the module; "" is the root package alone
	never   []string // not even through others
	never1  []string // not directly
	because string
}

const (
	caddy     = "github.com/caddyserver"
	pgx       = "github.com/jackc/pgx"
	hashicorp = "github.com/hashicorp"
	risor     = "github.com/deepnoodle-ai/risor"
)

var rules = []rule{
	{"executor", []string{caddy, pgx, hashicorp, module + "/manager", module + "/agent", module + "/cluster"}, nil, "the executor knows neither the proxy nor the database"},
	{"executor/wire", []string{risor, module + "/executor/worker"}, nil, "frames know nothing of the language"},
	{"executor/hostcall", []string{"github.com/fxamacker", "net", module + "/executor/wire", module + "/executor/risor", module + "/internal/egress"}, nil, "the contract of host calls is a leaf that both sides read"},
	{"internal/value", []string{"github.com/fxamacker", "net", module + "/executor", module + "/agent"}, nil, "a leaf"},
	{"agent/broker", []string{pgx, hashicorp, risor, module + "/internal/postgres", module + "/manager"}, []string{module + "/agent"}, "a wing meets others in the hall"},
	{"cluster", []string{caddy, pgx, module + "/executor", module + "/manager"}, nil, "membership is below the manager"},
	{"migrations", nil, []string{module + "/"}, "migrations stand alone"},
	{"internal/postgres", []string{caddy, hashicorp, module + "/manager", module + "/cluster", module + "/executor", module + "/agent"}, nil, "the database is a leaf"},
	{"internal/datadir", []string{caddy, pgx, hashicorp, module + "/agent", module + "/executor"}, nil, "a leaf"},
	{"internal/seal", []string{caddy, pgx, hashicorp, risor, module + "/agent", module + "/executor", module + "/manager"}, nil, "a leaf"},
	{"internal/egress", []string{caddy, pgx, hashicorp, risor, module + "/agent", module + "/executor", module + "/manager"}, nil, "a leaf"},
	{"internal/problem", []string{caddy, pgx, module + "/manager", module + "/agent"}, nil, "a leaf"},
	{"manager", []string{caddy, pgx, hashicorp, risor, module + "/agent"}, nil, "the manager sees its stores through its own interfaces"},
	{"manager/api/client", []string{module + "/internal", module + "/executor"}, []string{module + "/manager/api"}, "the CLI must not link the manager"},
	{"internal/cli", []string{caddy, pgx, hashicorp, risor, module + "/agent", module + "/executor", module + "/internal/postgres"}, []string{module + "/manager", module + "/manager/api"}, "the CLI speaks to the API only"},
	{"agent", []string{caddy}, nil, "the agent is testable without the proxy"},
	{"caddymodule", nil, []string{pgx, hashicorp, risor}, "an adapter, not a second agent"},
	{"cmd/picloud-executor", []string{caddy, pgx, hashicorp, module + "/agent", module + "/manager", "github.com/prometheus", "net/http", "crypto/x509"}, nil, "the worker stays small"},
}

// only says which packages alone may import a dependency.
var only = []struct {
	dependency string
	importers  []string
}{
	{risor, []string{"executor/risor"}},
	{hashicorp, []string{"cluster"}},
	{pgx, []string{"internal/postgres", "internal/testdb", "migrations"}},
	{caddy, []string{"caddymodule", "cmd/picloud", "bench"}},
	{"github.com/stretchr/testify", []string{"internal/testdb"}},
}

func TestImportsPointInward(t *testing.T) {
	for _, p := range load(t) {
		rel := relative(p.ImportPath)
		if rel == "" {
			for _, dep := range p.Imports {
				require.NotContains(t, dep, ".", "the root package depends on the standard library only")
			}
		}
		for _, r := range rules {
			if !within(rel, r.pkg) {
				continue
			}
			for _, dep := range p.Deps {
				for _, bad := range r.never {
					require.Falsef(t, reaches(dep, bad), "%s reaches %s: %s", p.ImportPath, dep, r.because)
				}
			}
			for _, dep := range p.Imports {
				for _, bad := range r.never1 {
					require.Falsef(t, !within(relative(dep), r.pkg) && (dep == bad || strings.HasSuffix(bad, "/") && strings.HasPrefix(dep, bad)),
						"%s imports %s: %s", p.ImportPath, dep, r.because)
				}
			}
		}
		for _, o := range only {
			for _, dep := range p.Imports {
				allowed := slices.ContainsFunc(o.importers, func(importer string) bool { return within(rel, importer) })
				require.Falsef(t, reaches(dep, o.dependency) && !allowed, "%s imports %s; only %v may", p.ImportPath, dep, o.importers)
			}
		}
	}
}

// relative is the path of a package below the module, or the whole path of a foreign one.
func relative(path string) string {
	if path == module {
		return ""
	}
	return strings.TrimPrefix(path, module+"/")
}

func within(rel, folder string) bool { return rel == folder || strings.HasPrefix(rel, folder+"/") }

// reaches says whether dep is bad or below it, or a later major version of it.
func reaches(dep, bad string) bool { return dep == bad || strings.HasPrefix(dep, bad+"/") }
