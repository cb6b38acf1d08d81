package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoBareGo: a goroutine has an owner that ends it. service.Go and
// sync.WaitGroup.Go bring one; a go statement needs a line in bareGo.
func TestNoBareGo(t *testing.T) {
	left := maps.Clone(bareGo)
	for _, p := range load(t) {
		rel := relative(p.ImportPath)
		if slices.ContainsFunc(notShipped, func(folder string) bool { return within(rel, folder) }) {
			continue
		}
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			for _, decl := range file.Decls {
				function := rel + "." + nameOf(decl)
				for _, at := range goStatements(decl) {
					_, allowed := bareGo[function]
					require.Truef(t, allowed, "%s: %s starts a goroutine with a bare go: use service.Go or sync.WaitGroup.Go", fset.Position(at), function)
					delete(left, function)
				}
			}
		}
	}
	require.Empty(t, left, "they start no goroutine any more; take them off the list")
}

// goStatements finds the go statements of a declaration.
func goStatements(decl ast.Decl) (found []token.Pos) {
	ast.Inspect(decl, func(n ast.Node) bool {
		if g, ok := n.(*ast.GoStmt); ok {
			found = append(found, g.Pos())
		}
		return true
	})
	return found
}

// nameOf is the name of a function, or "init" for variables that a function sets.
func nameOf(decl ast.Decl) string {
	if f, ok := decl.(*ast.FuncDecl); ok {
		return f.Name.Name
	}
	return "init"
}
