package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The sizes that the house keeps to.
const (
	maxFileLines     = 600
	maxMedianLines   = 150
	maxP90Lines      = 400
	maxFunctionLines = 100
	maxFiles         = 25 // of a package, generated ones and tests aside
)

// longFunctions are allowed to be longer, each with a reason.
var longFunctions = map[string]string{}

func TestSizes(t *testing.T) {
	var sizes []int
	for _, p := range load(t) {
		for _, name := range p.GoFiles {
			if strings.HasSuffix(name, ".gen.go") {
				continue
			}
			path := filepath.Join(p.Dir, name)
			src, err := os.ReadFile(path)
			require.NoError(t, err)
			lines := bytes.Count(src, []byte("\n"))
			sizes = append(sizes, lines)
			require.LessOrEqualf(t, lines, maxFileLines, "%s: split it by responsibility", path)
			checkFunctions(t, p, path, src)
		}
	}
	slices.Sort(sizes)
	require.LessOrEqual(t, sizes[len(sizes)/2], maxMedianLines, "median lines per file")
	require.LessOrEqual(t, sizes[len(sizes)*9/10], maxP90Lines, "90th percentile of lines per file")
}

func checkFunctions(t *testing.T, p pkg, path string, src []byte) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, src, parser.SkipObjectResolution)
	require.NoError(t, err)
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		name := relative(p.ImportPath) + "." + f.Name.Name
		if _, allowed := longFunctions[name]; allowed {
			continue
		}
		lines := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1
		require.LessOrEqualf(t, lines, maxFunctionLines, "%s in %s is too long", name, path)
	}
}

// TestFilesPerPackage: a package with more files has others in it that nobody
// has declared.
func TestFilesPerPackage(t *testing.T) {
	left := maps.Clone(crowded)
	for _, p := range load(t) {
		files := 0
		for _, name := range append(p.GoFiles, p.IgnoredGoFiles...) {
			if !strings.HasSuffix(name, "_test.go") && !strings.HasSuffix(name, ".gen.go") {
				files++
			}
		}
		rel := relative(p.ImportPath)
		if files > maxFiles {
			require.Containsf(t, left, rel, "%s has %d files, %d at most: declare the package that is in it", p.ImportPath, files, maxFiles)
			delete(left, rel)
		}
	}
	require.Empty(t, left, "they are not crowded any more; take them off the list")
}

// TestPackagesSayWhatTheyAreFor also keeps names that say nothing out.
func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	for _, p := range load(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		require.NotEmptyf(t, p.Doc, "%s has no package comment", p.ImportPath)
		base := p.ImportPath[strings.LastIndexByte(p.ImportPath, '/')+1:]
		require.NotContains(t, []string{"util", "utils", "common", "helpers", "types", "misc"}, base, "a package is named for what it does")
	}
}
