package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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

	IgnoredGoFiles []string // of other platforms
	TestImports    []string
	XTestImports   []string
	Imports        []string
	Deps           []string
}

// load lists the packages of the module.
func load(t *testing.T) []pkg {
	t.Helper()
	watchFolders(t)
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Name,GoFiles,IgnoredGoFiles,TestImports,XTestImports,Imports,Deps", module+"/...").Output()
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

// watchFolders opens each folder of the module: go test then sees a change of any
// file, and does not answer from its cache.
func watchFolders(t *testing.T) {
	t.Helper()
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if slices.Contains([]string{".git", "bin", "data", "dist"}, entry.Name()) {
			return fs.SkipDir
		}
		_, err = os.ReadDir(path)
		return err
	}))
}

// TestFloors: a package reaches its own floor and those below it.
func TestFloors(t *testing.T) {
	for _, p := range load(t) {
		own := floorOf(relative(p.ImportPath))
		if own < 0 {
			continue
		}
		for _, dep := range p.Deps {
			if !ours(dep) {
				continue
			}
			above := floorOf(relative(dep))
			require.LessOrEqualf(t, above, own, "%s (%s) reaches %s, which is on a floor above it", p.ImportPath, floors[own].name, dep)
			if floors[own].name == "internal leaves" {
				require.GreaterOrEqualf(t, above, 0, "%s is a leaf, and reaches %s, which is not one", p.ImportPath, dep)
			}
		}
	}
}

// TestWings: none imports another, nor a store, nor a floor above the executor.
func TestWings(t *testing.T) {
	for _, p := range load(t) {
		for _, w := range wings {
			if !within(relative(p.ImportPath), w.path) {
				continue
			}
			for _, dep := range p.Imports {
				rel := relative(dep)
				allowed := !ours(dep) || rel == "" || within(rel, w.path) || holds(leaves, rel) ||
					slices.Contains(executorTypes, rel) || slices.Contains(w.also, rel)
				require.Truef(t, allowed, "%s imports %s: a wing imports the root package, leaves and the executor's types; it meets the others in the hall", p.ImportPath, dep)
			}
		}
	}
}

// TestStores: only the hall names implementations.
func TestStores(t *testing.T) {
	for _, p := range load(t) {
		for _, s := range stores {
			for _, dep := range p.Imports {
				if rel := relative(p.ImportPath); ours(dep) && within(relative(dep), s.path) && !within(rel, s.path) {
					require.Truef(t, holds(s.importers, rel), "%s imports %s; only %v may", p.ImportPath, dep, s.importers)
				}
			}
		}
	}
}

// TestEveryNamedPackageExists: a law over a package that is not there cannot fail.
func TestEveryNamedPackageExists(t *testing.T) {
	pkgs := load(t)
	exact := map[string]bool{}
	var imported []string
	for _, p := range pkgs {
		exact[relative(p.ImportPath)] = true
		imported = slices.Concat(imported, p.Imports, p.TestImports, p.XTestImports)
	}
	for where, names := range named() {
		for _, name := range names {
			path, foreign := strings.CutPrefix(name, "foreign:")
			if foreign {
				require.Truef(t, slices.ContainsFunc(imported, func(dep string) bool { return reaches(dep, path) }), "%s: nothing imports %s", where, path)
				continue
			}
			require.Truef(t, exact[path] || slices.ContainsFunc(pkgs, func(p pkg) bool { return path != "" && within(relative(p.ImportPath), path) }),
				"%s: there is no package %q", where, path)
		}
	}
}

// named are the packages that the tables name, by table. Those of other modules
// begin with "foreign:".
func named() map[string][]string {
	all := map[string][]string{"executorTypes": executorTypes, "notShipped": notShipped}
	add := func(where string, names ...string) {
		for _, name := range names {
			switch {
			case name == module+"/" || slices.Contains(standard, name):
			case ours(name):
				name = relative(name)
				fallthrough
			case !strings.Contains(strings.SplitN(name, "/", 2)[0], "."):
				all[where] = append(all[where], name)
			default:
				all[where] = append(all[where], "foreign:"+name)
			}
		}
	}
	for _, f := range floors {
		for _, at := range f.places {
			add("floors", at.path)
		}
	}
	for _, w := range wings {
		add("wings", append([]string{w.path}, w.also...)...)
	}
	for _, s := range stores {
		add("stores", s.path)
		for _, at := range s.importers {
			add("stores", at.path)
		}
	}
	for _, r := range rules {
		add("rules", append([]string{r.pkg}, append(r.never, r.never1...)...)...)
	}
	for _, o := range only {
		add("only", append([]string{o.dependency}, o.importers...)...)
	}
	return all
}

// floorOf is the floor of a package, or -1 for one that is beside the floors.
func floorOf(rel string) int {
	return slices.IndexFunc(floors, func(f floor) bool { return holds(f.places, rel) })
}

func holds(places []place, rel string) bool {
	return slices.ContainsFunc(places, func(at place) bool { return rel == at.path || !at.exact && within(rel, at.path) })
}

// ours reports whether a package is one of the module.
func ours(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }

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
