package risor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/ast"
	"github.com/deepnoodle-ai/risor/v2/pkg/parser"

	"github.com/picloud/picloud/executor/wire"
)

// parse makes the tree of a source, with what Risor's parser gets wrong put right.
func parse(text string) (tree *ast.Program, fault *Error) {
	defer recovered(&fault)
	masked := disguise(text)
	tree, err := parser.Parse(context.Background(), masked, &parser.Config{MaxDepth: MaxNesting})
	if err != nil {
		return nil, parseFault(masked, err).in(text)
	}
	bindAnd(masked, tree)
	placeTemplates(masked, tree)
	if masked != text {
		restore(tree)
	}
	for node := range ast.Preorder(tree) {
		if f, ok := node.(*ast.Func); ok {
			signDefaults(f)
		}
	}
	return tree, nil
}

// signDefaults makes numbers of defaults with a minus, which the compiler does not know.
func signDefaults(f *ast.Func) {
	for name, value := range f.Defaults {
		p, ok := value.(*ast.Prefix)
		if !ok || p.Op != "-" {
			continue
		}
		switch x := p.X.(type) {
		case *ast.Int:
			f.Defaults[name] = &ast.Int{ValuePos: p.OpPos, Literal: "-" + x.Literal, Value: -x.Value}
		case *ast.Float:
			f.Defaults[name] = &ast.Float{ValuePos: p.OpPos, Literal: "-" + x.Literal, Value: -x.Value}
		}
	}
}

// misread is what is wrong with a text that does not parse, and where; no line: unknown.
type misread struct {
	reason  wire.Reason
	message string
	place
}

// in is the error for the author of the source.
func (m misread) in(source string) *Error {
	e := newError(m.reason, undisguise.Replace(m.message))
	if m.line == 0 {
		return e
	}
	return e.at(source, m.line, m.column)
}

// parseFault reads an error of Risor's parser.
func parseFault(text string, err error) misread {
	m := misread{reason: wire.ReasonScript, message: err.Error()}
	var found parser.ParserError
	if list := (*parser.Errors)(nil); errors.As(err, &list) && list.First() != nil {
		found = list.First()
	} else if !errors.As(err, &found) {
		return m
	}
	m.message = found.Message()
	if cause := found.Cause(); cause != nil {
		m.message = cause.Error()
	}
	at := found.StartPosition()
	m.place = place{at.LineNumber(), at.ColumnNumber()}
	if found.Cause() != nil && at.Char == 0 {
		m.line, m.column = placeOf(text, m.message)
	}
	switch {
	case strings.Contains(m.message, "maximum nesting depth"):
		m.reason = wire.ReasonSourceBounds
		m.message = fmt.Sprintf("expressions are nested more than %d deep", MaxNesting)
	case strings.HasPrefix(m.message, "in template interpolation:"), strings.HasPrefix(m.message, "template contains"):
		if inner, ok := templateFault(text, m.place); ok {
			return inner
		}
	case strings.HasPrefix(m.message, "expected expression"):
		if at, ok := assignmentBefore(text, m.place); ok {
			m.message, m.place = noValue, at
		}
	}
	return m
}

// templateFault finds what is wrong in a template, of whose errors the parser says only
// where the template begins.
func templateFault(text string, at place) (misread, bool) {
	b := newBinder(text)
	i, ok := b.at[at]
	if !ok || b.tokens[i].kind != kindText {
		return misread{}, false
	}
	line, column, rest := at.line, at.column, b.tokens[i].text
	for {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			return misread{}, false
		}
		line, column = behindText(line, column, before+"${")
		expression, next, closed := strings.Cut(after, "}")
		if !closed {
			return misread{}, false
		}
		if m, bad := pieceFault(expression); bad {
			if m.line <= 1 {
				m.column = column + max(m.column, 1) - 1
			}
			m.line = line + max(m.line, 1) - 1
			return m, true
		}
		line, column = behindText(line, column, expression+"}")
		rest = next
	}
}

// pieceFault says what is wrong with the text in ${…}.
func pieceFault(text string) (misread, bool) {
	tree, err := parser.Parse(context.Background(), text, &parser.Config{MaxDepth: MaxNesting})
	if err != nil {
		return parseFault(text, err), true
	}
	bad := func(message string, n ast.Node) (misread, bool) {
		return misread{wire.ReasonScript, message, place{n.Pos().LineNumber(), n.Pos().ColumnNumber()}}, true
	}
	switch {
	case len(tree.Stmts) > 1:
		return bad("a template's ${…} holds one expression", tree.Stmts[1])
	case len(tree.Stmts) == 1:
		switch n := tree.Stmts[0].(type) {
		case ast.Expr:
		case *ast.Assign, *ast.SetAttr, *ast.Postfix:
			return bad(noValue, n)
		default:
			return bad("a template's ${…} holds an expression, not a statement", n)
		}
	}
	return misread{}, false
}

// assignmentBefore finds the assignment that ends at, or right before, a token at which
// the parser missed an expression.
func assignmentBefore(text string, at place) (place, bool) {
	b := newBinder(text)
	i, ok := b.at[at]
	if !ok {
		return place{}, false
	}
	if next := i + 1; next < len(b.tokens) && b.tokens[next].kind == kindPostfix {
		return place{b.tokens[next].line, b.tokens[next].column}, true
	}
	if b.tokens[i].kind == kindClose || b.tokens[i].kind == kindComma { // the parser is past it
		i--
	}
	for depth := 0; i > 0; i-- {
		t, before := b.tokens[i], b.tokens[i-1]
		switch t.kind {
		case kindClose:
			depth++
		case kindOpen:
			if depth--; depth < 0 {
				return place{}, false
			}
		case kindEnd:
			if depth == 0 {
				return place{}, false
			}
		case kindPostfix, kindInfix:
			if depth > 0 || !slices.Contains([]string{"=", "+=", "-=", "*=", "/=", "++", "--"}, t.text) {
				continue
			}
			defines := before.text == "}" || i > 1 && (b.tokens[i-2].text == "let" || b.tokens[i-2].text == "const")
			return place{t.line, t.column}, !defines
		}
	}
	return place{}, false
}

// placeOf finds the token that an error of Risor's lexer ends with: some come
// without a place.
func placeOf(text, message string) (line, column int) {
	bad := message[strings.LastIndex(message, ": ")+1:]
	bad = strings.Trim(bad, " '")
	l := newLexer(text)
	for {
		l.skip()
		line, column = l.line, l.column
		start := l.pos
		if l.next().kind == kindEOF {
			return 1, 1
		}
		if strings.HasPrefix(string(l.src[start:min(len(l.src), start+len(bad))]), bad) {
			return line, column
		}
	}
}
