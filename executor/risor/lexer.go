package risor

import "unicode"

// kind is what the bounds need to know about a token.
type kind uint8

const (
	kindEOF     kind = iota
	kindOther        // literals, punctuation without a meaning here
	kindIdent        // identifiers, keywords among them
	kindOpen         // ( [ {
	kindClose        // ) ] }
	kindComma        // ,
	kindEnd          // ; or the end of a line
	kindInfix        // operators that need something behind them
	kindChain        // . ?. |> — they go on with the line above
	kindPostfix      // ++ --
	kindText         // a template; its expressions are parsed on their own
)

type token struct {
	kind   kind
	text   string // of identifiers, brackets and templates
	line   int    // from 1
	column int    // from 1, in characters
	begin  place  // where Risor says that it begins: at the block comment before it, if there is one
	end    bool   // of kindEnd: a semicolon, not a line end
}

// lexer splits a source the way Risor's lexer does, as far as the bounds need
// it: strings, templates and comments are skipped exactly as there. It never
// fails; what Risor refuses is the parser's business.
type lexer struct {
	src          []rune
	pos          int
	line, column int
}

func newLexer(source string) *lexer { return &lexer{src: []rune(source), line: 1, column: 1} }

func (l *lexer) peek(n int) rune {
	if l.pos+n >= len(l.src) {
		return 0
	}
	return l.src[l.pos+n]
}

func (l *lexer) advance(n int) {
	for range n {
		if l.pos >= len(l.src) {
			return
		}
		l.column++
		if l.src[l.pos] == '\n' {
			l.line++
			l.column = 1
		}
		l.pos++
	}
}

func (l *lexer) next() token {
	begin := l.skip()
	t := token{line: l.line, column: l.column, begin: begin}
	start := l.pos
	c := l.peek(0)
	switch {
	case l.pos >= len(l.src) || c == 0:
		return t
	case c == '\n' || c == '\r' || c == ';':
		t.kind, t.end = kindEnd, c == ';'
		l.advance(1)
	case c == '"' || c == '\'':
		t.kind = kindOther
		l.str(c)
	case c == '`':
		t.kind = kindText
		l.template()
	case isWord(c):
		t.kind = kindIdent
		if c >= '0' && c <= '9' {
			t.kind = kindOther
		}
		for isWord(l.peek(0)) {
			l.advance(1)
		}
	default:
		var n int
		t.kind, n = l.operator(c)
		l.advance(n)
	}
	t.text = string(l.src[start:l.pos])
	return t
}

// place is where something stands, as in a token.
type place struct{ line, column int }

// skip skips blanks and comments. An unterminated comment ends the source. Begin is
// where Risor's lexer sees the beginning of what follows: it takes the place of a token
// before it skips a block comment.
func (l *lexer) skip() (begin place) {
	for {
		if begin == (place{}) && (l.peek(0) != ' ' && l.peek(0) != '\t' && (l.peek(0) != '/' || l.peek(1) != '/')) {
			begin = place{l.line, l.column}
		}
		c, d := l.peek(0), l.peek(1)
		switch {
		case c == ' ' || c == '\t':
			l.advance(1)
		case c == '/' && d == '/', c == '#' && d == '!' && l.line == 1 && l.pos <= 1:
			for l.peek(0) != '\n' && l.peek(0) != 0 {
				l.advance(1)
			}
		case c == '/' && d == '*':
			for l.peek(0) != 0 && (l.peek(0) != '*' || l.peek(1) != '/') {
				l.advance(1)
			}
			l.advance(2)
		default:
			return begin
		}
	}
}

// str skips a string; it ends at its quote or before the end of the line.
func (l *lexer) str(quote rune) {
	l.advance(1)
	for {
		switch l.peek(0) {
		case 0, '\n':
			return
		case quote:
			l.advance(1)
			return
		case '\\':
			l.advance(1)
			if l.peek(0) == '\n' {
				return
			}
			l.advance(1)
		default:
			l.advance(1)
		}
	}
}

func (l *lexer) template() {
	l.advance(1)
	for l.peek(0) != '`' && l.peek(0) != 0 {
		l.advance(1)
	}
	l.advance(1)
}

// operator classifies what is neither a word nor text.
func (l *lexer) operator(c rune) (kind, int) {
	d, e := l.peek(1), l.peek(2)
	switch {
	case c == '(' || c == '[' || c == '{':
		return kindOpen, 1
	case c == ')' || c == ']' || c == '}':
		return kindClose, 1
	case c == ',':
		return kindComma, 1
	case c == '.' && d == '.' && e == '.':
		return kindInfix, 3
	case c == '?' && d == '.', c == '|' && d == '>':
		return kindChain, 2
	case c == '.':
		return kindChain, 1
	case c == '+' && d == '+', c == '-' && d == '-':
		return kindPostfix, 2
	case pair(c, d):
		return kindInfix, 2
	}
	return kindInfix, 1
}

// pair reports whether c and d are one operator.
func pair(c, d rune) bool {
	switch d {
	case '=':
		return c == '=' || c == '!' || c == '<' || c == '>' || c == '+' || c == '-' || c == '*' || c == '/'
	case '>':
		return c == '=' || c == '>'
	case c:
		return c == '&' || c == '|' || c == '?' || c == '*' || c == '<'
	}
	return false
}

func isWord(c rune) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c > unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c))
}
