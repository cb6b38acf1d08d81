package postgres_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/testdb"
)

// Every query of this package and of the stores is prepared against the migrated
// schema: a column that does not exist, a type that does not fit, a missing table
// shows here.
func TestEveryQueryPrepares(t *testing.T) {
	dsn := testdb.DSN(t)
	testdb.OpenWithRoot(t, dsn)
	conn := testdb.Connect(t, dsn)
	count := 0
	for name, sql := range constants(t, packages(t)) {
		if isQuery(name) {
			count++
			_, err := conn.Prepare(t.Context(), name, sql)
			require.NoError(t, err, "%s: %s", name, sql)
		}
	}
	require.Greater(t, count, 50)
}

// isQuery says whether a constant, named as package.name, is a whole query.
func isQuery(name string) bool { return strings.Contains(name, ".sql") }

// Queries are constants that the test above sees, and are sent nowhere else.
func TestQueriesAreConstants(t *testing.T) {
	all := packages(t)
	queries := constants(t, all)
	sends := map[string]int{"Query": 1, "QueryRow": 1, "Exec": 1, "Queue": 0, "QueryOne": 3} // the query is this argument
	for name, files := range all {
		calls := 0
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				method, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || len(call.Args) == 0 {
					return true
				}
				at, ok := sends[method.Sel.Name]
				if _, reads := call.Args[0].(*ast.FuncLit); !ok || reads || at >= len(call.Args) { // it reads the result of a queued statement
					return true
				}
				calls++
				if arg, ok := call.Args[at].(*ast.Ident); ok {
					require.True(t, queries[name+"."+arg.Name] != "" || arg.Name == "sql", "%s is not a query constant", arg.Name)
				} else {
					text, ok := constant(name, call.Args[at].(*ast.BinaryExpr).X, nil)
					require.True(t, ok && text == "LISTEN ", "a query is put together: %q", text)
				}
				return true
			})
		}
		require.Positive(t, calls, "package %s sends queries", name)
	}
}

// packages reads the packages that send queries, by their names: this one and
// the stores' ones, each of which has to be named here.
func packages(t *testing.T) map[string][]*ast.File {
	t.Helper()
	out := make(map[string][]*ast.File)
	driver := make(map[string]bool)
	for _, pattern := range []string{"*.go", "*/*.go"} {
		paths, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			require.NoError(t, err)
			name := file.Name.Name
			out[name] = append(out[name], file)
			for _, spec := range file.Imports {
				driver[name] = driver[name] || strings.HasPrefix(spec.Path.Value, `"github.com/jackc/pgx`)
			}
		}
	}
	maps.DeleteFunc(out, func(name string, _ []*ast.File) bool { return !driver[name] || name == "managed" }) // managed asks for the server's state alone
	require.ElementsMatch(t, []string{"postgres", "catalog", "people", "keys", "fleet", "backup"}, slices.Collect(maps.Keys(out)))
	return out
}

// constants evaluates the string constants of packages, by package.name.
func constants(t *testing.T, packages map[string][]*ast.File) map[string]string {
	t.Helper()
	specs := make(map[string]ast.Expr)
	for name, files := range packages {
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Names) == 1 && len(spec.Values) == 1 {
					specs[name+"."+spec.Names[0].Name] = spec.Values[0]
				}
				return true
			})
		}
	}
	out := make(map[string]string)
	for name, expr := range specs {
		pkg, _, _ := strings.Cut(name, ".")
		if text, ok := constant(pkg, expr, specs); ok {
			out[name] = text
		} else {
			require.False(t, isQuery(name), "%s is not a constant text", name)
		}
	}
	return out
}

// constant evaluates an expression of a package.
func constant(pkg string, expr ast.Expr, specs map[string]ast.Expr) (string, bool) {
	switch x := expr.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(x.Value)
		return text, err == nil && x.Kind == token.STRING
	case *ast.Ident:
		return constant(pkg, specs[pkg+"."+x.Name], specs)
	case *ast.SelectorExpr:
		if from, ok := x.X.(*ast.Ident); ok {
			return constant(from.Name, specs[from.Name+"."+x.Sel.Name], specs)
		}
	case *ast.BinaryExpr:
		left, ok := constant(pkg, x.X, specs)
		right, ok2 := constant(pkg, x.Y, specs)
		return left + right, ok && ok2
	}
	return "", false
}
