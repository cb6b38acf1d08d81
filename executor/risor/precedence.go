package risor

import (
	"slices"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/ast"
)

// bindAnd makes && bind tighter than ||, as in every language that scripts resemble.
// Risor's parser gives both one precedence, from left to right, so that it reads
// a || b && c as (a || b) && c. Parentheses are not in the tree: bindAnd finds them
// again between the places of two operators. text is what root was parsed from.
func bindAnd(text string, root ast.Node) {
	if !strings.Contains(text, "&&") || !strings.Contains(text, "||") {
		return
	}
	b := newBinder(text)
	ast.Inspect(root, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.String:
			bindTemplate(n)
			return false // each expression of a template has places of its own
		case *ast.Infix:
			b.bind(n)
		}
		return true
	})
}

// bindTemplate does it in the expressions of a template.
func bindTemplate(s *ast.String) {
	if s.Template == nil {
		return
	}
	next := 0
	for _, f := range s.Template.Fragments() {
		if !f.IsVariable() {
			continue
		}
		if expr := s.Exprs[next]; expr != nil {
			bindAnd(f.Value(), expr)
		}
		next++
	}
}

// binder knows the brackets between the operators of one text.
type binder struct {
	tokens []token
	at     map[place]int // of tokens
	done   map[*ast.Infix]struct{}
}

func newBinder(text string) *binder {
	b := &binder{at: map[place]int{}, done: map[*ast.Infix]struct{}{}}
	l := newLexer(text)
	for t := l.next(); t.kind != kindEOF; t = l.next() {
		b.at[t.begin] = len(b.tokens)
		b.tokens = append(b.tokens, t)
	}
	return b
}

// index returns which token the operator is; -1: none.
func (b *binder) index(x *ast.Infix) int {
	i, ok := b.at[place{x.OpPos.LineNumber(), x.OpPos.ColumnNumber()}]
	if !ok {
		return -1
	}
	return i
}

// closed reports whether a bracket that was opened before from is closed before to.
func (b *binder) closed(from, to int) bool {
	depth := 0
	for _, t := range b.tokens[from+1 : to] {
		switch t.kind {
		case kindOpen:
			depth++
		case kindClose:
			if depth--; depth < 0 {
				return true
			}
		}
	}
	return false
}

// bind regroups a chain of && and ||, of which root is the last operator.
func (b *binder) bind(root *ast.Infix) {
	if _, done := b.done[root]; done || !logical(root) || b.index(root) < 0 {
		return
	}
	chain, first := b.chain(root)
	mixed := false
	for _, o := range chain {
		b.done[o] = struct{}{}
		mixed = mixed || o.Op != root.Op
	}
	if !mixed {
		return
	}
	// From left to right: || between groups of &&.
	var result ast.Expr // of the groups so far
	var or *ast.Infix   // the operator behind them; nil: there is none yet
	group := first
	flush := func() {
		if or == nil {
			result = group
		} else {
			result = b.infix(or, result, group)
		}
	}
	for _, o := range slices.Backward(chain) {
		if o.Op == "&&" {
			group = b.infix(o, group, o.Y)
			continue
		}
		flush()
		or, group = o, o.Y
	}
	flush()
	*root = *result.(*ast.Infix) // the chain has a ||, so it ends as one
}

// chain returns the operators that root ends, the last first, and their leftmost
// operand. Operators in brackets are not among them.
func (b *binder) chain(root *ast.Infix) (ops []*ast.Infix, first ast.Expr) {
	ops = []*ast.Infix{root}
	for {
		last := ops[len(ops)-1]
		x, ok := last.X.(*ast.Infix)
		if !ok || !logical(x) || b.index(x) < 0 || b.closed(b.index(x), b.index(last)) {
			return ops, last.X
		}
		ops = append(ops, x)
	}
}

// infix is the operator o with other operands.
func (b *binder) infix(o *ast.Infix, x, y ast.Expr) *ast.Infix {
	made := &ast.Infix{X: x, OpPos: o.OpPos, Op: o.Op, Y: y}
	b.done[made] = struct{}{}
	return made
}

func logical(x *ast.Infix) bool { return x.Op == "&&" || x.Op == "||" }
