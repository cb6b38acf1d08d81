package risor

import (
	"strings"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/ast"
)

// keywords are Risor's. Its parser refuses them behind a dot too, where data and
// the request have such names: req.function, payload.match. They are disguised
// as words of the same length before parsing, so that places stay right, and
// get their names back in the tree.
var keywords = []string{
	"const", "else", "false", "function", "if", "in", "let", "match", "nil", "null", "not",
	"return", "struct", "throw", "true", "try", "catch", "finally",
}

// masks are letters of which each stands for the first letter of one keyword.
const firstMask = '\u4e00'

var (
	disguised  = map[string]string{}
	undisguise *strings.Replacer
)

func init() {
	var pairs []string
	for i, k := range keywords {
		mask := string(firstMask+rune(i)) + k[1:]
		disguised[k] = mask
		pairs = append(pairs, mask, k)
	}
	undisguise = strings.NewReplacer(pairs...)
}

// disguise replaces the keywords that are names behind a dot, in templates too.
func disguise(source string) string {
	var out strings.Builder
	l := newLexer(source)
	for prev := (token{}); ; {
		start := l.pos
		t := l.next()
		if t.kind == kindEOF {
			out.WriteString(string(l.src[start:]))
			return out.String()
		}
		text := t.text
		switch {
		case t.kind == kindText:
			text = disguiseTemplate(text)
		case t.kind == kindIdent && prev.kind == kindChain && prev.text != "|>":
			if mask, ok := disguised[text]; ok {
				text = mask
			}
		}
		out.WriteString(string(l.src[start : l.pos-utf8.RuneCountInString(t.text)]))
		out.WriteString(text)
		prev = t
	}
}

// disguiseTemplate does it in the expressions of a template.
func disguiseTemplate(template string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(template, "${")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		expression, after, closed := strings.Cut(rest, "}")
		out.WriteString("${" + disguise(expression))
		if !closed {
			return out.String()
		}
		out.WriteString("}")
		template = after
	}
}

// restore gives the names in the tree back.
func restore(tree *ast.Program) {
	for node := range ast.Preorder(tree) {
		switch n := node.(type) {
		case *ast.GetAttr:
			n.Attr.Name = undisguise.Replace(n.Attr.Name)
		case *ast.SetAttr:
			n.Attr.Name = undisguise.Replace(n.Attr.Name)
		case *ast.ObjectCall:
			if name, ok := n.Call.Fun.(*ast.Ident); ok {
				name.Name = undisguise.Replace(name.Name)
			}
		}
	}
}
