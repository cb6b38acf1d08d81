package risor

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/ast"
	"github.com/deepnoodle-ai/risor/v2/pkg/bytecode"
	"github.com/deepnoodle-ai/risor/v2/pkg/compiler"
	risorerrors "github.com/deepnoodle-ai/risor/v2/pkg/errors"
	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/risor/module"
	"github.com/picloud/picloud/executor/risor/vm"
	"github.com/picloud/picloud/executor/wire"
)

// filler stands in for the source when the compiler looks up the line of each
// instruction, which it does by splitting the whole source. It has one line.
var filler = strings.Repeat("x", MaxSource+1)

// Compile checks a source and compiles it. Errors are of type *Error. The
// bounds make it quick for ordinary sources, but an odd one may take seconds
// and much memory: strangers' sources belong into a process of their own.
func Compile(source []byte) (*Program, error) {
	source = bytes.TrimPrefix(source, []byte("\ufeff")) // a byte order mark, which some editors write
	if err := checkBytes(source); err != nil {
		return nil, err
	}
	text := string(source)
	words, fault := checkBounds(text)
	if fault != nil {
		return nil, fault
	}
	tree, fault := parse(text)
	if fault != nil {
		return nil, fault
	}
	defined, fault := checkTree(text, tree)
	if fault != nil {
		return nil, fault
	}
	globals := visible(words, defined)
	bc, fault := generate(text, tree, globals)
	if fault != nil {
		// Once more with every name of the host, which it can suggest.
		globals = visible(nil, defined)
		if bc, fault = generate(text, tree, globals); fault != nil {
			return nil, fault
		}
	}
	loaded, err := vm.Load(bc, globals)
	if err != nil {
		return nil, newError(wire.ReasonScript, err.Error())
	}
	p := &Program{vm: loaded, source: text}
	for _, h := range Handlers {
		if slices.Contains(defined, h.Name) {
			p.handlers = append(p.handlers, h.Name)
		}
	}
	if len(p.handlers) == 0 {
		return nil, newError(wire.ReasonScript, "the script defines no handler; a function that answers HTTP begins with: function handle(req) {")
	}
	return p, nil
}

// visible selects the host's names that the script does not define itself and,
// unless words is nil, uses.
func visible(words map[string]struct{}, defined []string) map[string]object.Object {
	globals := map[string]object.Object{}
	for name, value := range module.Environment() {
		_, used := words[name]
		if (used || words == nil) && !slices.Contains(defined, name) {
			globals[name] = value()
		}
	}
	return globals
}

// checkTree returns the names that the top level defines, and refuses what the
// compiler would panic at.
func checkTree(text string, tree *ast.Program) ([]string, *Error) {
	var defined []string
	for _, stmt := range tree.Stmts {
		defined = append(defined, definedBy(stmt)...)
		if len(defined) > MaxBindings {
			at := stmt.Pos()
			return nil, newError(wire.ReasonSourceBounds, fmt.Sprintf("more than %d names are defined at the top level", MaxBindings)).
				at(text, at.LineNumber(), at.ColumnNumber())
		}
	}
	if fault := checkCalls(text, tree); fault != nil {
		return nil, fault
	}
	return defined, nil
}

const (
	noValue   = "an assignment has no value; assign first, then use the variable"
	noDefault = "a parameter's default is a number, a string, true, false or null; for another value write null, and in the function: name = name ?? value"
)

// checkCalls refuses arguments and items that the compiler makes no value of.
func checkCalls(text string, root ast.Node) (fault *Error) {
	refuse := func(arg ast.Node, message string) {
		where := arg.Pos()
		fault = newError(wire.ReasonScript, message).at(text, where.LineNumber(), where.ColumnNumber())
	}
	ast.Inspect(root, func(node ast.Node) bool {
		var args []ast.Node
		method := false
		switch n := node.(type) {
		case *ast.Call:
			args = n.Args
		case *ast.ObjectCall:
			args, method = n.Call.Args, true
		case *ast.String:
			for _, expr := range n.Exprs {
				if expr != nil && fault == nil {
					fault = checkCalls(text, expr)
				}
			}
			return false
		case *ast.DefaultValue:
			refuse(n, noValue)
		}
		for _, arg := range args {
			switch arg.(type) {
			case *ast.Spread:
				if method {
					refuse(arg, "a method cannot be called with a spread; take it first: let f = x.method; f(...list)")
				}
			case ast.Expr:
			default:
				refuse(arg, noValue)
			}
		}
		return fault == nil
	})
	return fault
}

// definedBy lists the names that a statement defines.
func definedBy(stmt ast.Node) []string {
	var names []string
	switch s := stmt.(type) {
	case *ast.Var:
		names = append(names, s.Name.Name)
	case *ast.Const:
		names = append(names, s.Name.Name)
	case *ast.Func:
		if s.Name != nil {
			names = append(names, s.Name.Name)
		}
	case *ast.MultiVar:
		for _, n := range s.Names {
			names = append(names, n.Name)
		}
	case *ast.ObjectDestructure:
		for _, b := range s.Bindings {
			if b.Alias != "" {
				names = append(names, b.Alias)
			} else {
				names = append(names, b.Key)
			}
		}
	case *ast.ArrayDestructure:
		for _, e := range s.Elements {
			names = append(names, e.Name.Name)
		}
	}
	return names
}

// generate compiles the tree.
func generate(text string, tree *ast.Program, globals map[string]object.Object) (bc *bytecode.Code, fault *Error) {
	defer recovered(&fault)
	names := slices.Collect(maps.Keys(globals))
	bc, err := compiler.Compile(tree, &compiler.Config{GlobalNames: names, Source: filler[:len(text)+1]})
	if err == nil {
		return bc, nil
	}
	var found *risorerrors.CompileError
	if !errors.As(err, &found) {
		return nil, plainError(text, tree, strings.TrimPrefix(err.Error(), "compile error: "))
	}
	message := found.Message
	if strings.HasPrefix(message, "unsupported default value type") {
		message = noDefault
	}
	if len(found.Suggestions) > 0 {
		message += fmt.Sprintf("; did you mean %q?", found.Suggestions[0].Value)
	}
	return nil, newError(wire.ReasonScript, message).at(text, found.Line, found.Column)
}

var redefined = regexp.MustCompile(`^(?:variable|function) "(.*)" (?:already exists|redefined)$`)

// plainError locates the compiler errors that come without a place.
func plainError(text string, tree *ast.Program, message string) *Error {
	e := newError(wire.ReasonScript, message)
	m := redefined.FindStringSubmatch(message)
	if m == nil {
		return e
	}
	for node := range ast.Preorder(tree) {
		var stmts []ast.Node
		switch n := node.(type) {
		case *ast.Program:
			stmts = n.Stmts
		case *ast.Block:
			stmts = n.Stmts
		}
		seen := false
		for _, stmt := range stmts {
			if !slices.Contains(definedBy(stmt), m[1]) {
				continue
			}
			if seen {
				at := stmt.Pos()
				return e.at(text, at.LineNumber(), at.ColumnNumber())
			}
			seen = true
		}
	}
	return e
}

// recovered turns a panic of Risor's parser or compiler into an error.
func recovered(fault **Error) {
	if r := recover(); r != nil {
		message := strings.TrimPrefix(fmt.Sprint(r), "compile error: ")
		*fault = newError(wire.ReasonScript, "the compiler gave up: "+message)
	}
}
