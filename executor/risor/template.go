package risor

import (
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/ast"
)

// placeTemplates gives what stands in ${…} its places in the source. Risor's parser reads
// each of these expressions as a source of its own, which begins in line 1. text is what
// root was parsed from.
func placeTemplates(text string, root ast.Node) {
	if !strings.Contains(text, "${") {
		return
	}
	ast.Inspect(root, func(n ast.Node) bool {
		s, ok := n.(*ast.String)
		if !ok {
			return true
		}
		if s.Template != nil {
			placeTemplate(s)
		}
		return false // a template cannot be in another
	})
}

func placeTemplate(s *ast.String) {
	at := s.ValuePos
	line, column := at.Line+1, at.Column+2 // behind the `
	pass := func(text string) { line, column = behindText(line, column, text) }
	next := 0
	for _, f := range s.Template.Fragments() {
		if !f.IsVariable() {
			pass(f.Value())
			continue
		}
		pass("${")
		if expr := s.Exprs[next]; expr != nil {
			m := mover{lines: line - 1, columns: column - 1, done: map[any]struct{}{}}
			m.move(reflect.ValueOf(expr))
		}
		next++
		pass(f.Value())
		pass("}")
	}
}

// behindText is the place behind a text that begins at line and column, which count
// from 1.
func behindText(line, column int, text string) (int, int) {
	if lines := strings.Count(text, "\n"); lines > 0 {
		line, column = line+lines, 1
		text = text[strings.LastIndexByte(text, '\n')+1:]
	}
	return line, column + utf8.RuneCountInString(text)
}

// position is the type of all places in a tree.
var position = reflect.TypeFor[ast.Ident]().Field(0).Type

// mover moves the places of a tree.
type mover struct {
	lines, columns int
	done           map[any]struct{} // nodes can be in a tree twice
}

// move adds lines to every place, and columns to those in the first line.
func (m *mover) move(v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface:
		m.move(v.Elem())
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		node := v.Interface()
		if _, done := m.done[node]; !done {
			m.done[node] = struct{}{}
			m.move(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			m.move(v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == position {
			m.place(v)
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				m.move(v.Field(i))
			}
		}
	}
}

func (m *mover) place(v reflect.Value) {
	line, column := v.FieldByName("Line"), v.FieldByName("Column")
	if line.Int() == 0 {
		column.SetInt(column.Int() + int64(m.columns))
	}
	line.SetInt(line.Int() + int64(m.lines))
}
