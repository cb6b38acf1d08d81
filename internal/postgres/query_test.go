package postgres_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/testdb"
)

// Every query is prepared against the migrated schema: a column that does not
// exist, a type that does not fit, a missing table shows here.
func TestEveryQueryPrepares(t *testing.T) {
	dsn := testdb.DSN(t)
	openDB(t, dsn)
	conn := connect(t, dsn)
	queries := constants(t)
	require.Greater(t, len(queries), 30)
	for name, sql := range queries {
		if strings.HasPrefix(name, "sql") {
			_, err := conn.Prepare(t.Context(), name, sql)
			require.NoError(t, err, "%s: %s", name, sql)
		}
	}
}

// Queries are constants that the test above sees, and are sent nowhere else.
func TestQueriesAreConstants(t *testing.T) {
	queries := constants(t)
	sends := regexp.MustCompile(`^(Query|QueryRow|Exec|Queue)$`)
	calls := 0
	for _, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !sends.MatchString(method.Sel.Name) || len(call.Args) == 0 {
				return true
			}
			if _, reads := call.Args[0].(*ast.FuncLit); reads {
				return true // of a queued statement's result
			}
			calls++
			at := 1 // after the context
			if method.Sel.Name == "Queue" {
				at = 0
			}
			if arg, ok := call.Args[at].(*ast.Ident); ok {
				require.True(t, queries[arg.Name] != "" || arg.Name == "sql", "%s is no query constant", arg.Name)
			} else {
				text, ok := constant(call.Args[at].(*ast.BinaryExpr).X, nil)
				require.True(t, ok && text == "LISTEN ", "a query is put together: %q", text)
			}
			return true
		})
	}
	require.Greater(t, calls, 20)
}

func sources(t *testing.T) []*ast.File {
	t.Helper()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	var files []*ast.File
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			require.NoError(t, err)
			files = append(files, file)
		}
	}
	return files
}

// constants evaluates the string constants of the package.
func constants(t *testing.T) map[string]string {
	t.Helper()
	specs := make(map[string]ast.Expr)
	for _, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Names) == 1 && len(spec.Values) == 1 {
				specs[spec.Names[0].Name] = spec.Values[0]
			}
			return true
		})
	}
	out := make(map[string]string)
	for name, expr := range specs {
		if text, ok := constant(expr, specs); ok {
			out[name] = text
		} else {
			require.False(t, strings.HasPrefix(name, "sql"), "%s is not a constant text", name)
		}
	}
	return out
}

func constant(expr ast.Expr, specs map[string]ast.Expr) (string, bool) {
	switch x := expr.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(x.Value)
		return text, err == nil && x.Kind == token.STRING
	case *ast.Ident:
		return constant(specs[x.Name], specs)
	case *ast.BinaryExpr:
		left, ok := constant(x.X, specs)
		right, ok2 := constant(x.Y, specs)
		return left + right, ok && ok2
	}
	return "", false
}
